"""The log of swarms: `rules.py` decides what the next swarm is, and `log.py` reads and writes it."""
