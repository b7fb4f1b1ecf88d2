"""The flows of `--no-ui`: each module holds the commands of one kind, each command a function of `Options`."""
