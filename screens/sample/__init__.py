"""The sample screen: a trained model speaks."""
