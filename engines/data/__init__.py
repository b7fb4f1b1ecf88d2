"""From text to batches: corpora, tokenizers, the split and the packed rows, the order of the data."""
