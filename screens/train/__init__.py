"""The train screen: a form that starts a run, and the live view of a run."""
