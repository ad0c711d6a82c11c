"""What was accepted, what was counted and what viewers saw: whether every reaction was counted once."""
