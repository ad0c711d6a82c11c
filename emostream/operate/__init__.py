"""What an operator runs beside the tiers: topics, broker, status, verify, and the reference of settings."""
