"""The processes of a whole topology on this machine: which there are, how each starts, and their supervision."""
