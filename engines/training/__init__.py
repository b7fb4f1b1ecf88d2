"""The training loop, what happens between its steps, and the process that runs it."""
