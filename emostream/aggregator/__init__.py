"""The aggregator: makes a swarm of each micro-batch of reactions, exactly once, in Spark Structured Streaming.

`swarms.py` is the pure core; `log.py` the topic `swarms`, which is result and checkpoint in one; `query.py` the SQL;
`driver.py` the edge that holds them together.
"""
