"""The other servers that the benchmark measures."""
