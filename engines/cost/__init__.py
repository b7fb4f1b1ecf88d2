"""Estimates of what a run takes before it starts: parameters, FLOPs, memory and time."""
