"""Widgets of the screens; each owns its messages."""
