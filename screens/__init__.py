"""The dashboard: a Textual app that reads run directories and starts workers. It imports only light engine packages."""
