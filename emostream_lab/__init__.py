"""What starts EmoStream on one machine, puts an audience on it, breaks it and measures it. No tier needs it."""
