"""Output as terminal text, JSON and CSV, units and axis ticks, and the log of an unexpected exception."""
