"""The registry: knows every live subscriber and its load, and tells each viewer where to connect."""
