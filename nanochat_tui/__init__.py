"""The door: the command line, and the headless flows behind it."""
