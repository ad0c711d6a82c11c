"""`python -m emostream` is the command `emostream`."""

from emostream.cli import main

main()
