"""Settings: declarations, requirements, presets, scaling rules, resolving, validation and files."""
