"""Starts and supervises all processes of a topology on this machine."""
