"""Position of a run in training: what a checkpoint stores besides parameters, optimizer state and guards."""

import dataclasses
from collections import deque

from engines.training.run_schedule import PlannedStep

LAST_LOSSES = 50  # steps whose mean loss a summary reports, as in microgpt


@dataclasses.dataclass
class TrainingState:
    """Counters of one run in training. On a GPU, results are collected some steps after they were dispatched."""

    batch_size: int
    step: int = 0  # updates handed to the learner
    collected: int = 0  # updates whose results are recorded
    position: int = 0  # rows consumed, including those of undone steps
    train_seconds: float = 0.0  # duration of all collected steps, including undone ones
    in_flight: deque[PlannedStep] = dataclasses.field(default_factory=deque)  # dispatched, not collected
    recent_losses: deque[float] = dataclasses.field(default_factory=lambda: deque(maxlen=LAST_LOSSES))

    @property
    def dispatched(self) -> int:
        """Number of steps ever handed to the learner, including undone ones."""
        return self.position // self.batch_size
