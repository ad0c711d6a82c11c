"""The whole topology as child processes of one command, on loopback: for the demo and the integration tests."""
