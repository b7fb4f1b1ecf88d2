"""The pure-Python engine: no numpy, no torch, every number a Python float."""
