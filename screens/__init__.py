"""The dashboard, a Textual app. It reads run directories and starts workers; it never imports torch."""
