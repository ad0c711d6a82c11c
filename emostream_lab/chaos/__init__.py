"""Breaks every process of a topology of its own, by a seed, and checks that nothing was lost or counted twice."""
