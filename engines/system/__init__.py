"""The machine: processors, GPUs, compiled modules, and a check of all of it."""
