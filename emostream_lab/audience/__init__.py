"""The simulated audience of the demo and of chaos: viewers that watch and a crowd that reacts."""
