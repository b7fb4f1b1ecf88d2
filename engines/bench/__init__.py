"""Benchmarks, one module per command: `bench log`, `bench scalar`, `bench step`, `bench cpu` and `bench nanochat`.

Each has a function `measure`, which returns a report. `bench ui` is in nanochat_tui, as it needs the dashboard.
"""
