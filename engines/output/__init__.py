"""Output as terminal text, JSON and CSV, and the log of an unexpected exception."""
