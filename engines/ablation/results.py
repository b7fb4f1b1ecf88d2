"""What one run of a study came to, read from the run's own directory."""

import dataclasses
import math
from itertools import accumulate
from typing import NamedTuple

from engines.ablation.plan import Job
from engines.runs import liveness
from engines.runs.history import History, read_history
from engines.runs.store import Run

LAST_LOSSES = 50  # steps behind the mean training loss, as in the runs' summaries
UNREADABLE = "unreadable"  # finished, but its last evaluation could not be read
DIVERGED = "diverged"  # a halt because a number was not finite, or an end with such a loss or an absurd one
_FAR_BEYOND_GUESSING = 1e6  # nats a token; guessing costs ln V. The squares of much larger ones are no numbers any more


class Point(NamedTuple):
    """An evaluation, and what training had taken until then."""

    step: int
    tokens: int
    seconds: float
    bpb: float  # NaN where the model was broken


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended and what it reached. Figures of what never happened are None; a broken loss is NaN."""

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
    val_bytes: int | None = None  # of the text that was scored
    best_step: int | None = None
    curve: tuple[Point, ...] = ()
    damage: str = ""  # one sentence about what could not be read in the run's log

    @property
    def val_bpb(self) -> float | None:
        """Where it ended: NaN where that is no number, None where it never came to an end."""
        if self.outcome == DIVERGED:
            return math.nan
        return self.curve[-1].bpb if self.curve and self.outcome == "finished" else None

    @property
    def best_bpb(self) -> float | None:
        return min((point.bpb for point in self.curve if math.isfinite(point.bpb)), default=None)

    @property
    def is_comparable(self) -> bool:
        """Whether it came to its end with a figure that can stand beside others."""
        return self.outcome == "finished" and bool(self.curve)

    @property
    def steps_per_second(self) -> float | None:
        return self.steps / self.train_seconds if self.train_seconds else None

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self.train_seconds if self.train_seconds else None

    def reached(self, target_bpb: float) -> Point | None:
        """The first evaluation as good as the target."""
        return next((point for point in self.curve if point.bpb <= target_bpb), None)


def result_of(job: Job, run: Run) -> Result:
    """The result of a run that has ended."""
    history = read_history(run)
    ended = liveness.ending(run, history)
    last = history.newest_losses(LAST_LOSSES)
    facts = run.config.get("facts", {})
    best, latest = history.best_eval, history.evals[-1] if history.evals else None
    outcome = _outcome(liveness.ended_state(run, history), history)
    return Result(
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
        val_loss=_number(latest["loss"]) if latest and outcome == "finished" else None,
        val_bytes=latest["bytes"] if latest else None,
        best_step=best["step"] if best else None,
        curve=_curve(history),
        damage=history.damage,
    )


def not_started(job: Job, reason: str) -> Result:
    return Result(job, run="", outcome="crashed", detail=reason)


def _outcome(state: str, history: History) -> str:
    """The run's state, but for the ways in which a loss shows that is no number, or none that tells anything."""
    if state == "finished" and history.damage and not _has_last_evaluation(history):
        return UNREADABLE
    by_guard = state == "halted" and bool(history.guards) and history.guards[-1]["rule"] == "nonfinite"
    loss = history.evals[-1]["loss"] if history.evals else 0.0
    unseen = state == "finished" and (loss is None or loss > _FAR_BEYOND_GUESSING)
    return DIVERGED if by_guard or unseen else state


def _has_last_evaluation(history: History) -> bool:
    last = history.ended["step"] if history.ended else history.step
    return bool(history.evals) and bool(history.evals[-1]["step"] == last)


def _curve(history: History) -> tuple[Point, ...]:
    seconds = [0.0, *accumulate(history.seconds)]
    tokens_a_step = history.tokens // history.step if history.step else 0
    return tuple(
        Point(event["step"], event["step"] * tokens_a_step, seconds[event["step"]], _number(event["bpb"]))
        for event in history.evals
        if event["step"] < len(seconds)
    )


def _number(value: float | None) -> float:
    """JSON has no NaN: an evaluation's null means one."""
    return math.nan if value is None else value
