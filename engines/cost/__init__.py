"""What a run costs before it starts: parameters, arithmetic, memory, time."""
