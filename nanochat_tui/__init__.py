"""Command line: parsing, the start of the dashboard, and the headless commands."""
