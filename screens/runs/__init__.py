"""The runs screen: a table of all runs, with comparison and overlay of marked ones."""
