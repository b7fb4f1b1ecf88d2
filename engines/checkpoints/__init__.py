"""Checkpoint folders: their names, their files, which are kept, and the thread that writes them. Light to import."""
