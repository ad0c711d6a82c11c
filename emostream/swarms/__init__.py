"""The topic `swarms`: `rules.py` computes the next swarm, `log.py` reads and writes the topic.

`reactions.py` decides which records of `reactions` count.
"""
