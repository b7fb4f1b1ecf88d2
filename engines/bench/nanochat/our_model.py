"""Our checkpoint with the interface of the scorer."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.bench.nanochat.our_training import find_last_checkpoint
from engines.data.tokenizers import BOS, Tokenizer
from engines.generation.load import load_trained_model
from engines.interfaces import LanguageModel


class OurModel:
    """A checkpoint of ours; implements `scorer.ScoredModel`."""

    bos = BOS

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer) -> None:
        self._model = model
        self.encode = tokenizer.encode
        self.token_bytes = tokenizer.token_bytes
        self.context_length = model.context_length

    def per_token_loss(self, rows: Sequence[Sequence[int]]) -> Iterable[list[float]]:
        """Yield the loss of each target of each row, in nats."""
        return self._model.score(rows)


def open_model(results: Path, device: str) -> OurModel:
    """Open the last checkpoint of the only run in a results directory."""
    loaded = load_trained_model(find_last_checkpoint(results), device)
    return OurModel(loaded.model, loaded.tokenizer)
