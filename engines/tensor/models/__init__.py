"""The tensor engine's models, from tokens to losses."""
