"""A bigram fitted by counting: a baseline for the trained one, and the model that samples if no run is available."""

import math
from collections.abc import Sequence
from itertools import pairwise

from engines.data.corpora import open_corpus, scan_corpus
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
from engines.data.tokenizers import BOS, CharTokenizer
from engines.generation.decoding import FullContextDecoder
from engines.interfaces import Decoder, TokenIds
from engines.scalar.kernels import Vector
from engines.scalar.models import score_pairs
from engines.settings.sample import CountSettings

# The Rust program (nanochat-rs-next) counts these words 400 times more in its futuristic style.
FUTURISTIC_WORDS = ("neon", "quantum", "neural", "orbital", "reactor", "wormhole", "autonomous", "synthetic")
_FUTURISTIC_COUNT = 400
_STORIES_SIZE = 1_000_000  # bytes


class CountBigram:
    """A bigram with Laplace smoothing: p(next | current) = (count + 1) / (count of current + V)."""

    context_length, compiles_decoding = 1, False

    def __init__(self, vocab_size: int, documents_end: bool = True) -> None:
        """Start with one count per pair. Unless `documents_end`, a document never ends, and neither does a sample."""
        self.parameter_count = vocab_size**2
        self._counts = [[1] * vocab_size for _ in range(vocab_size)]
        if not documents_end:
            for row in self._counts:
                row[BOS] = 0

    def add(self, tokens: Sequence[int], times: int = 1) -> None:
        """Count every pair of adjacent tokens."""
        for current, target in pairwise(tokens):
            self._counts[current][target] += times

    def logits(self, context: Sequence[int]) -> Vector:
        """Return the logits (V) of the next token: the logarithms of the counts."""
        return [math.log(count) if count else -math.inf for count in self._counts[context[-1]]]

    def score(self, rows: Sequence[TokenIds]) -> list[Vector]:
        """Return the loss of every target of every row, in nats."""
        return score_pairs(lambda tokens: [self.logits((token,)) for token in tokens], rows)

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        """Return a decoder that continues the prompts."""
        return FullContextDecoder([self.logits] * len(prompts), self.context_length, prompts)


def fit_counts(settings: CountSettings, limits: TextLimits = DEFAULT_LIMITS) -> tuple[CountBigram, CharTokenizer]:
    """Count the pairs of a whole corpus. Raises UserError if the corpus cannot be read."""
    corpus = open_corpus(settings.data, "file", settings.style, _STORIES_SIZE, seed=0)
    stats = scan_corpus(corpus, lambda done: None, limits)
    tokenizer = CharTokenizer(stats.alphabet)
    model = CountBigram(tokenizer.vocab_size, documents_end=stats.documents > 1)
    last = BOS
    for chunk in stats.chunks if stats.chunks is not None else corpus.chunks():
        tokens = tokenizer.encode(chunk.text)
        if chunk.starts_document and last != BOS:
            model.add((last, BOS))
        model.add([BOS if chunk.starts_document else last, *tokens])
        last = tokens[-1]
    if stats.documents > 1:
        model.add((last, BOS))
    if settings.style == "futuristic":
        for word in FUTURISTIC_WORDS:
            model.add([BOS, *tokenizer.encode(word)], _FUTURISTIC_COUNT)
    return model, tokenizer
