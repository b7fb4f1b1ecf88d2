"""The face: the Textual app. It reads run directories and starts workers; it never imports an engine's heavy side."""
