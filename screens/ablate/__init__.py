"""The ablate screen: studies of variants."""
