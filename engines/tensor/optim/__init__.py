"""Optimizers on flat parameter buffers."""
