"""What every process shares: HTTP, Kafka, ZooKeeper, readiness, logs, output, and work in threads."""
