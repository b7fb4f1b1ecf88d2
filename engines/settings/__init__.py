"""Every setting, declared once: values, conditions, limits, scaling rules and files."""
