"""Settings: declarations, requirements, defaults, presets, scaling rules, resolving, validation and files."""
