"""The interfaces that every engine implements: `Learner` trains, `LanguageModel` scores and generates text."""

import dataclasses
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from engines.settings.sample import SampleSettings

TokenIds = Sequence[int]  # token ids; the token at i + 1 is the target of the tokens up to i


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows of equal length from a token stream, given by their start positions.

    An engine may hold the stream on its device. A row that reaches the end of the stream continues at its beginning.
    """

    tokens: memoryview
    starts: Sequence[int]
    row_length: int  # context_length + 1

    @classmethod
    def from_rows(cls, rows: Sequence[TokenIds]) -> "Batch":
        """Return a batch of these rows, which must have equal lengths."""
        tokens = array("I", (token for row in rows for token in row))
        length = len(rows[0])
        return cls(memoryview(tokens), range(0, len(tokens), length), length)

    def rows(self) -> list[list[int]]:
        """Return the tokens of each row."""
        return [self._row(start) for start in self.starts]

    def _row(self, start: int) -> list[int]:
        row: list[int] = self.tokens[start : start + self.row_length].tolist()
        while len(row) < self.row_length:
            row += self.tokens[: self.row_length - len(row)].tolist()
        return row


class Array(NamedTuple):
    """An array in the safetensors format: `dtype` is its name, such as F64; `data` holds prod(shape) elements."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


class StepHyperparameters(NamedTuple):
    """Scheduled hyperparameters of one step. Momentum and the factor on the weight decay are those of Muon."""

    lr: float
    momentum: float = 0.95
    weight_decay_multiplier: float = 1.0


class StepResult(NamedTuple):
    """Mean loss of a step before its update, in nats per token, and the norm of its gradient."""

    loss: float
    grad_norm: float


class LearnerState(NamedTuple):
    """Copies of everything that a learner needs to continue exactly."""

    model: dict[str, Array]
    optimizer: dict[str, Array]
    counters: dict[str, int]


class Decision(NamedTuple):
    """The value that an engine chose for a setting left to `auto`, and the reason."""

    setting: str
    value: str
    reason: str

    def as_event(self) -> dict[str, str]:
        """Return the fields of an entry of the `engine` event's `choices`."""
        return {"setting": self.setting, "value": self.value, "why": self.reason}


class SampledToken(NamedTuple):
    """A sampled token. Probabilities are those of the model, before temperature, top-k and top-p."""

    id: int
    probability: float
    alternatives: list[tuple[int, float]]  # the most likely tokens with their probabilities


class Decoder(Protocol):
    """Generates text for several rows. Implementations may keep a KV cache."""

    def stream(self, settings: SampleSettings, uniforms: Iterable[Sequence[float]]) -> Iterator[list[SampledToken]]:
        """Yield the next token of each row, sampled with one uniform number in [0, 1) per row, for as many `uniforms`
        as there are. The iterator may consume more of them than tokens were requested so far."""


class LanguageModel(Protocol):
    """A model for evaluation and sampling, without optimizer state."""

    parameter_count: int
    context_length: int
    compiles_decoding: bool  # after the first token

    def logits(self, context: Sequence[int]) -> Sequence[float]:
        """Return the logits of the token after `context` (at least one token), one per token id."""

    def score(self, rows: Sequence[TokenIds]) -> Iterable[list[float]]:
        """Return the losses of each row's targets in nats: one fewer than its tokens. Rows may differ in length.

        The result may still be computed on the device; iterating waits for it.
        """

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        """Return a decoder that continues these prompts, of at least one token each."""


class Learner(Protocol):
    """A model in training. `step` may return before the device is done; `pop_results` returns the finished steps."""

    @property
    def model(self) -> LanguageModel: ...

    @property
    def decisions(self) -> list[Decision]:
        """The decisions for settings left to `auto`, complete after `warm_up`."""

    @property
    def gpu(self) -> str | None:
        """The name of its GPU; None if it runs on the CPU."""

    def warm_up(self, batch: Batch) -> None:
        """Compile code and allocate memory for steps of this batch's shape. Weights do not change."""

    def step(self, batch: Batch, hyperparameters: StepHyperparameters) -> None:
        """Train on a batch. The update is skipped if the loss or a gradient is not finite."""

    def pop_results(self) -> list[StepResult]:
        """Return the results of finished steps, in order, each once."""

    def wait(self) -> None:
        """Wait until every step is finished."""

    def state(self) -> LearnerState:
        """Return a copy of weights, optimizer state and counters."""

    def load_state(self, state: LearnerState) -> None:
        """Restore what `state` returned."""
