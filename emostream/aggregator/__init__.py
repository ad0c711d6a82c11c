"""The aggregator: counts reactions in Spark Structured Streaming and writes one swarm per micro-batch, exactly once.

`query.py` holds the SQL. `driver.py` connects Spark, Kafka and ZooKeeper. The rules for the next swarm, and access to
the topic `swarms`, are in `emostream.swarms`. A record of `swarms` is both the result and the checkpoint.
"""
