"""Compares what ingest accepted, what was counted and what viewers saw, to prove that every reaction counts once."""
