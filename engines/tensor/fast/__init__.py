"""Faster modules for a device, swapped in from outside of the models."""
