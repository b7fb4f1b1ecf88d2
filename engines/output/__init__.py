"""Text for terminals, JSON and CSV, and the log of an unexpected exception."""
