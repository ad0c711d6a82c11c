"""The publisher: relays the one ordered log of swarms to its cluster's topic, each once, in order."""
