"""The simulated audience: when it comes and reacts, what it sends, and the crowd of the demo and of chaos runs."""
