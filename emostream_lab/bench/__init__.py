"""Benchmarks of each tier of EmoStream, beside other servers of its kind: `make bench`."""
