"""Widgets that more than one screen uses, and the dialogs."""
