"""The directory of a run: creating, locking, finding, reading, watching, controlling and deleting it, and starting its
worker. Light to import: no torch, no numpy."""
