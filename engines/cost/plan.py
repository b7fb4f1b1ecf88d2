"""Estimate what a run will take before it starts: parameters, FLOPs, memory and time."""

import dataclasses
import math

from engines.cost.flops import count_by_role, flops_per_token
from engines.cost.machine import Machine, resolve_for_machine
from engines.cost.memory import TrainingMemory, estimate_memory
from engines.cost.throughput import estimate_step_seconds
from engines.settings.train import TrainSettings


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The cost of a run. `seconds` covers training alone, not reading text, compiling and evaluating."""

    parameters: dict[str, int]  # by role
    flops_per_token: int  # forward and backward
    tokens_per_step: int
    steps: int
    memory: TrainingMemory
    seconds: float | None  # None if the machine's speed is unknown
    assumption: str  # about the speed

    @property
    def parameter_count(self) -> int:
        """The number of parameters of all roles."""
        return sum(self.parameters.values())

    @property
    def tokens(self) -> int:
        """The number of training tokens of the whole run."""
        return self.steps * self.tokens_per_step

    @property
    def flops(self) -> int:
        """The training FLOPs of the whole run."""
        return self.tokens * self.flops_per_token


def estimate(settings: TrainSettings, vocab_size: int, machine: Machine) -> Estimate:
    """Estimate the cost of a run with resolved settings on `machine`."""
    settings = resolve_for_machine(settings, machine)
    per_token = flops_per_token(settings, vocab_size)
    step_seconds, assumption = estimate_step_seconds(settings, vocab_size, per_token, machine)
    steps = _count_steps(settings, step_seconds)
    return Estimate(
        parameters=count_by_role(settings, vocab_size),
        flops_per_token=per_token,
        tokens_per_step=settings.tokens_per_step,
        steps=steps,
        memory=estimate_memory(settings, vocab_size, machine.gpu),
        seconds=None if step_seconds is None else steps * step_seconds,
        assumption=assumption,
    )


def _count_steps(settings: TrainSettings, step_seconds: float | None) -> int:
    """Return the steps until the first budget is used up; a target may end the run earlier."""
    steps = [settings.steps]
    if settings.tokens is not None:
        steps.append(-(-settings.tokens // settings.tokens_per_step))
    if settings.time_budget is not None and step_seconds:
        steps.append(math.ceil(settings.time_budget / step_seconds))
    return min(steps)
