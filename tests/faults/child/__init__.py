"""Imported first by processes of the campaign: a guard that stops writes outside the campaign's folder."""
