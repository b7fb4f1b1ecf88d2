"""What may be asked of any engine: to learn (`Learner`) and to speak (`LanguageModel`)."""

import dataclasses
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from engines.settings.sample import SampleSettings

TokenIds = Sequence[int]  # token ids; the token at i + 1 is the target of the tokens up to i


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows of equal length out of a token stream, named by where they begin: an engine may hold the stream on its
    device. A row that reaches the stream's end goes on at its beginning."""

    tokens: memoryview
    starts: Sequence[int]
    row_length: int  # context_length + 1

    @classmethod
    def of(cls, rows: Sequence[TokenIds]) -> "Batch":
        """A batch of these very rows, all of one length."""
        tokens = array("I", (token for row in rows for token in row))
        length = len(rows[0])
        return cls(memoryview(tokens), range(0, len(tokens), length), length)

    def rows(self) -> list[list[int]]:
        return [self._row(start) for start in self.starts]

    def _row(self, start: int) -> list[int]:
        row: list[int] = self.tokens[start : start + self.row_length].tolist()
        while len(row) < self.row_length:
            row += self.tokens[: self.row_length - len(row)].tolist()
        return row


class Array(NamedTuple):
    """Numbers as they lie on disk. `dtype` is the format's name, such as F64; `data` holds prod(shape) numbers."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


class StepHyperparameters(NamedTuple):
    """Scheduled hyperparameters of one step. Momentum and decay are Muon's; decay is a factor on the weight decay."""

    lr: float
    momentum: float = 0.95
    decay: float = 1.0


class StepResult(NamedTuple):
    """A finished step: its mean loss before the update, in nats per token, and the norm of its gradient."""

    loss: float
    grad_norm: float


class LearnerState(NamedTuple):
    """All that a learner needs to go on exactly: copies, untouched by later steps."""

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
    """A token drawn by a decoder. Probabilities are the model's own, before temperature and truncation."""

    id: int
    probability: float
    alternatives: list[tuple[int, float]]  # the likeliest tokens and their probabilities


class Decoder(Protocol):
    """Texts in the making, one a row: what was read of them is kept, so that a token costs the same at any length."""

    def stream(self, settings: SampleSettings, uniforms: Iterable[Sequence[float]]) -> Iterator[list[SampledToken]]:
        """The next token of each row, drawn by a number in [0, 1) of its own and read; as often as there are such
        numbers for all rows. More of them may be taken than tokens were asked for yet."""


class LanguageModel(Protocol):
    """What evaluation and sampling need; never holds optimizer state."""

    parameter_count: int
    context_length: int

    def logits(self, context: Sequence[int]) -> Sequence[float]:
        """Unnormalised log-probabilities of the token after `context` (at least one token), one for each id."""

    def score(self, rows: Sequence[TokenIds]) -> Iterable[list[float]]:
        """For each row the nats of each of its targets: one fewer than its tokens. Rows may differ in length. They
        may be still in the making: who iterates waits."""

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        """A decoder that has read these prompts, of at least one token each."""


class Learner(Protocol):
    """A model in training. `step` may return before the device is done; `pop_results` tells what is."""

    @property
    def model(self) -> LanguageModel: ...

    @property
    def decisions(self) -> list[Decision]:
        """What was decided for the machine, complete after `warm_up`."""

    @property
    def gpu(self) -> str | None:
        """The name of the GPU that it works on, if it does."""

    def warm_up(self, batch: Batch) -> None:
        """Compile and allocate what steps like this batch need; nothing else changes."""

    def step(self, batch: Batch, hyperparameters: StepHyperparameters) -> None:
        """One update. Where the loss or a gradient is not finite, the update is left out."""

    def pop_results(self) -> list[StepResult]:
        """Results of the steps that are done and not yet told, in order."""

    def wait(self) -> None:
        """Return when every step is done, so that `pop_results` tells them all."""

    def state(self) -> LearnerState: ...

    def load_state(self, state: LearnerState) -> None: ...
