"""A model of ours, as the race's scorer wants it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.bench.nanochat.our_training import last_checkpoint
from engines.data.tokenizers import BOS, Tokenizer
from engines.generation.load import load_trained_model
from engines.interfaces import LanguageModel


class OurModel:
    """A checkpoint of ours; what it is not asked for here it does as everywhere."""

    bos = BOS

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer) -> None:
        self._model = model
        self.encode = tokenizer.encode
        self.token_bytes = tokenizer.token_bytes
        self.context_length = model.context_length

    def nats(self, rows: Sequence[Sequence[int]]) -> Iterable[list[float]]:
        return self._model.score(rows)


def open_model(results: Path, device: str) -> OurModel:
    """The last checkpoint of the only run in a results directory."""
    speaker = load_trained_model(last_checkpoint(results), device)
    return OurModel(speaker.model, speaker.tokenizer)
