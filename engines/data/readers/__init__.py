"""Readers of text files, JSON and Parquet: each streams the texts of a file in bounded memory."""
