"""The aggregator: makes a swarm of each micro-batch of reactions, exactly once, in Spark Structured Streaming.

`query.py` holds the SQL, and `driver.py` is the edge that holds all together. Which swarm comes next, and the topic
`swarms`, which is result and checkpoint in one, are in `emostream.swarms`.
"""
