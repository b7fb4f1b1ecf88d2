"""A built-in corpus: short stories from a seeded grammar, whose exact information content is known."""
