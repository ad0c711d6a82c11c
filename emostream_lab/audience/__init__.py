"""The simulated audience of the demo and of chaos runs: it sends reactions and watches swarms."""
