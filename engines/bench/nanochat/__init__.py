"""The race against karpathy/nanochat: the same text, budget and scorer, a process for everything that is measured."""
