"""The auditor: reads along what is written and what is counted, and says whether each reaction was counted once."""
