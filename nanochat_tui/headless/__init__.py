"""Headless commands: one file per command, whose function of the same name takes `Options` and returns an exit code."""
