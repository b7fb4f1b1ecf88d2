"""The sample screen: generates text from a checkpoint, or from two side by side."""
