"""Creating, forking and resuming runs; the training loop with its callbacks and guards; the worker process."""
