"""How fast each tier is, and other servers of its kind: `make bench`."""
