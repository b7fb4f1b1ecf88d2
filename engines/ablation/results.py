"""The result of one run of a study, read from the run's own directory."""

import dataclasses
import math
from itertools import accumulate
from typing import NamedTuple

from engines.ablation.plan import Job
from engines.runs import liveness
from engines.runs.history import History, read_history
from engines.runs.store import Run

LAST_LOSSES = 50  # steps in the mean training loss, as in the runs' summaries
UNREADABLE = "unreadable"  # finished, but its last evaluation could not be read
DIVERGED = "diverged"  # halted by a non-finite number, or finished with a non-finite or absurd loss
_MAX_PLAUSIBLE_LOSS = 1e6  # nats per token; random guessing costs ln V. Squares of much larger losses overflow


class EvalPoint(NamedTuple):
    """An evaluation, with the training tokens and seconds until then."""

    step: int
    tokens: int
    seconds: float
    bpb: float  # NaN if the model was broken


@dataclasses.dataclass(frozen=True)
class RunResult:
    """The outcome and the scores of one run. Values that were never measured are None; a non-finite loss is NaN."""

    job: Job
    run: str
    outcome: str  # finished, diverged, halted, stopped, crashed, killed or unreadable
    detail: str | None = None
    parameters: int | None = None
    vocab_size: int | None = None
    train_tokens: int | None = None
    steps: int = 0
    tokens: int = 0
    train_seconds: float = 0.0
    final_loss: float | None = None
    mean_loss_last_n: float | None = None
    last_n: int = 0
    val_loss: float | None = None
    val_bytes: int | None = None  # of the validation text
    best_step: int | None = None
    curve: tuple[EvalPoint, ...] = ()
    damage: str = ""  # one sentence about what could not be read in the run's log

    @property
    def val_bpb(self) -> float | None:
        """Bits per byte of the last evaluation: NaN if the run diverged, None if it did not finish."""
        if self.outcome == DIVERGED:
            return math.nan
        return self.curve[-1].bpb if self.curve and self.outcome == "finished" else None

    @property
    def best_bpb(self) -> float | None:
        """The lowest bits per byte of all evaluations; None if there is no finite one."""
        return min((point.bpb for point in self.curve if math.isfinite(point.bpb)), default=None)

    @property
    def is_comparable(self) -> bool:
        """True if the run finished with a score that can be compared with others."""
        return self.outcome == "finished" and bool(self.curve)

    @property
    def steps_per_second(self) -> float | None:
        """Mean over the training time; None if no step was made."""
        return self.steps / self.train_seconds if self.train_seconds else None

    @property
    def tokens_per_second(self) -> float | None:
        """Mean over the training time; None if no step was made."""
        return self.tokens / self.train_seconds if self.train_seconds else None

    def find_target(self, target_bpb: float) -> EvalPoint | None:
        """Return the first evaluation at or below the target, or None if there is none."""
        return next((point for point in self.curve if point.bpb <= target_bpb), None)


def load_result(job: Job, run: Run) -> RunResult:
    """Load the result of a run that has ended. Raises UserError if its directory cannot be read."""
    history = read_history(run)
    ended = liveness.find_ending(run, history)
    last = history.newest_losses(LAST_LOSSES)
    facts = run.config.get("facts", {})
    best, latest = history.best_eval, history.evals[-1] if history.evals else None
    outcome = classify_outcome(liveness.derive_ended_state(run, history), history)
    return RunResult(
        job=job,
        run=run.id,
        outcome=outcome,
        detail=" ".join(filter(None, (ended["detail"] if ended else None, history.damage))) or None,
        parameters=facts.get("parameters"),
        vocab_size=facts.get("vocab_size"),
        train_tokens=facts.get("train_tokens"),
        steps=history.step,
        tokens=history.tokens,
        train_seconds=history.train_seconds,
        final_loss=history.last_loss,
        mean_loss_last_n=math.fsum(last) / len(last) if last else None,
        last_n=len(last),
        val_loss=_nan_if_none(latest["loss"]) if latest and outcome == "finished" else None,
        val_bytes=latest["bytes"] if latest else None,
        best_step=best["step"] if best else None,
        curve=_build_curve(history),
        damage=history.damage,
    )


def failed_start(job: Job, reason: str) -> RunResult:
    """Return the result of a run that could not be started."""
    return RunResult(job, run="", outcome="crashed", detail=reason)


def classify_outcome(state: str, history: History) -> str:
    """Return the outcome of a run: its state, or `diverged` or `unreadable` if its losses show that."""
    if state == "finished" and history.damage and not _has_last_evaluation(history):
        return UNREADABLE
    was_nonfinite = state == "halted" and bool(history.guards) and history.guards[-1]["rule"] == "nonfinite"
    loss = history.evals[-1]["loss"] if history.evals else 0.0
    has_absurd_loss = state == "finished" and (loss is None or loss > _MAX_PLAUSIBLE_LOSS)
    return DIVERGED if was_nonfinite or has_absurd_loss else state


def _has_last_evaluation(history: History) -> bool:
    last = history.ended["step"] if history.ended else history.step
    return bool(history.evals) and bool(history.evals[-1]["step"] == last)


def _build_curve(history: History) -> tuple[EvalPoint, ...]:
    seconds = [0.0, *accumulate(history.seconds)]
    tokens_per_step = history.tokens // history.step if history.step else 0
    return tuple(
        EvalPoint(event["step"], event["step"] * tokens_per_step, seconds[event["step"]], _nan_if_none(event["bpb"]))
        for event in history.evals
        if event["step"] < len(seconds)
    )


def _nan_if_none(value: float | None) -> float:
    """JSON has no NaN, so an evaluation records it as null."""
    return math.nan if value is None else value
