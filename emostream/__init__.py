"""EmoStream: live emoji reactions for an audience of thousands. docs/architecture.md is the way in."""
