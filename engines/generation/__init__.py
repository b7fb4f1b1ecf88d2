"""Text from trained models: loading, sampling, and the process that does it."""
