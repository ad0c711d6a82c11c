"""How a server's garbage is collected: what is there for good is left alone, and the rest is looked at rarely."""

import gc


def collect_rarely() -> None:
    """Call it once all is set up. For a process whose requests leave no cycles behind, or few."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
