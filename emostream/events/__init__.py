"""The events: several things to react to in one deployment, each with counts, a palette and an end of its own.

`table.py` holds the definitions and what an operator may do to them. `steps.py` decides what the aggregator does next.
Both are pure. `store.py` keeps the table in ZooKeeper, and follows it.
"""
