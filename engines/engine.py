"""What may be asked of any engine: to learn (`Learner`) and to speak (`LanguageModel`)."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from engines.safetensors import Array

Row = Sequence[int]  # token ids; the token at i + 1 is the target of the tokens up to i
Batch = Sequence[Row]  # rows of equal length: context_length + 1


class StepResult(NamedTuple):
    """A finished step: its mean loss before the update, in nats per token, and the norm of its gradient."""

    loss: float
    grad_norm: float


class LearnerState(NamedTuple):
    """All that a learner needs to go on exactly: copies, untouched by later steps."""

    model: dict[str, Array]
    optimizer: dict[str, Array]
    counters: dict[str, int]


class LanguageModel(Protocol):
    """What evaluation and sampling need; never holds optimizer state."""

    parameter_count: int
    context_length: int

    def logits(self, context: Sequence[int]) -> Sequence[float]:
        """Unnormalised log-probabilities of the token after `context` (at least one token), one for each id."""

    def score(self, rows: Batch) -> list[list[float]]:
        """For each row the nats of each of its targets: one fewer than its tokens. Rows may differ in length."""


class Learner(Protocol):
    """A model in training. `step` may return before the device is done; `finished` tells what is."""

    @property
    def model(self) -> LanguageModel: ...

    def step(self, batch: Batch, lr: float) -> None:
        """One update. Where the loss or a gradient is not finite, the update is left out."""

    def finished(self) -> list[StepResult]:
        """Results of the steps that are done and not yet told, in order."""

    def wait(self) -> None:
        """Return when every step is done, so that `finished` tells them all."""

    def state(self) -> LearnerState: ...

    def load_state(self, state: LearnerState) -> None: ...
