"""The runs screen: every run, compared."""
