"""Prepares this machine: installs packages and jars, and finds Java, the network address and a browser for tests."""
