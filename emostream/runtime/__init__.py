"""What every process shares: HTTP, Kafka, ZooKeeper, readiness, logs, and work in threads."""
