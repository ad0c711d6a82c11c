"""The load generator behind locustfile.py, and the check that EmoStream loses and doubles no reaction."""
