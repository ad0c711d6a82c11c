"""The topic `swarms`: `rules.py` computes the next swarm, `log.py` reads and writes the topic.

`judging.py` decides which records of `reactions` count.
"""
