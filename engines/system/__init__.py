"""The machine: CPU, GPUs, processes, the user's cache, bytecode, and `doctor`, which checks them."""
