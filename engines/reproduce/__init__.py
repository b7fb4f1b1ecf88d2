"""Repeats a recorded run and compares it with the record."""
