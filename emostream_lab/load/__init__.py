"""The load that locustfile.py puts on a running EmoStream, and the check that nothing of it was lost or doubled."""
