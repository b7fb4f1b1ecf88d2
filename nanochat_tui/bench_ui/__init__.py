"""Benchmark of the dashboard, measured from outside through a pseudo-terminal: `bench ui`."""
