"""What screens are made of; each widget owns its messages."""
