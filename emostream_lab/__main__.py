"""`python -m emostream_lab` is the command `emostream-lab`."""

from emostream_lab.cli import main

main()
