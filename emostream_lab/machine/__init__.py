"""Prepares this machine: packages, jars, Java, its network address, and a browser for tests."""
