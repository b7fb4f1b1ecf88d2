"""The tensor engine: the same small models as the scalar one, and a gpt that scales, on torch."""
