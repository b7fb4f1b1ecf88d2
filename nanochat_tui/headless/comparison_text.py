"""Format the comparison of a run with its reproduction, as text and as JSON."""

from typing import Any

from engines.reproduce.compare import (
    DIVERGED,
    IDENTICAL,
    ROUNDING,
    Comparison,
    EnvironmentChange,
    MatchCount,
    ValueDifference,
)
from engines.reproduce.replay import RecordedRun
from engines.runs.store import Run

_HEADINGS = {
    IDENTICAL: "identical, bit for bit",
    ROUNDING: "identical except for rounding",
    DIVERGED: "diverged",
}
_LABEL_WIDTH = 13


def comparison_as_text(original: Run, reproduction: Run, after: int, found: Comparison) -> str:
    """Return the verdict in the first line, then one line per kind of result.

    Up to step `after` the reproduction is a copy of its parent.
    """
    rows = [
        ("losses", f"{_format_tally(found.losses, 'step')}{_unreadable(found)}{_copied(after)}"),
        ("evaluations", _format_tally(found.evals, "evaluation")),
        ("samples", _format_tally(found.samples, "sample")),
        ("weights", _format_weights(found)),
        *_difference_rows(found),
    ]
    changes = [_format_change(change) for change in found.environment] or ["the same"]
    rows += zip(["environment", *[""] * (len(changes) - 1)], changes, strict=True)
    heading = f"{_HEADINGS[found.verdict]}: run {original.id} and its reproduction {reproduction.id}"
    return "\n".join([heading + _verdict_detail(found), *(f"  {label:<{_LABEL_WIDTH}}{text}" for label, text in rows)])


def comparison_as_json(original: RecordedRun, replay: RecordedRun, after: int, found: Comparison) -> dict[str, Any]:
    """Return one object for JSON."""
    return {
        "run": original.run.id,
        "reproduction": replay.run.id,
        "path": str(replay.run.path),
        "verdict": found.verdict,
        "tolerance": found.tolerance,
        "first_step": max(after, 0) + 1,
        "last_step": min(original.last, replay.history.step),
        **{name: getattr(found, name)._asdict() for name in ("losses", "evals", "samples", "weights")},
        "unreadable": original.history.damage or None,
        "unreadable_losses": found.unreadable,
        "weights_step": found.weights_step,
        "weights_same": found.weights_same,
        "first": _difference_as_json(found.first),
        "largest": _difference_as_json(found.largest),
        "departure": _difference_as_json(found.divergence),
        "magnified_rounding": found.is_magnified_rounding,
        "environment": [change._asdict() for change in found.environment],
    }


def _difference_as_json(found: ValueDifference | None) -> dict[str, Any] | None:
    return None if found is None else found._asdict()


def _verdict_detail(found: Comparison) -> str:
    """Return the end of the first line: where the runs diverged, or by how much they differ."""
    if found.divergence:
        return f": {_format_difference(found.divergence)}"
    if found.largest:
        return f" differ by at most {found.largest.size:.2g} (tolerance {found.tolerance:g})"
    return ""


def _difference_rows(found: Comparison) -> list[tuple[str, str]]:
    """Return rows about the first and the largest difference and their cause, as far as there are any."""
    rows = []
    if found.first:
        rows.append(("first", _format_difference(found.first)))
    if found.largest and found.largest != found.first:
        rows.append(("largest", _format_difference(found.largest)))
    if found.first and found.is_magnified_rounding:
        size = f"{found.first.size:.1g}"
        rows.append(
            ("cause", f"rounding: differences started at {size} and grew without a jump, amplified by training")
        )
    return rows


def _format_difference(found: ValueDifference) -> str:
    values = f"{found.original!r} in the original, {found.reproduction!r} in the reproduction"
    is_text = isinstance(found.original, str) or isinstance(found.reproduction, str)
    return f"{found.what} at step {found.step}: {values}{'' if is_text else f' (difference {found.size:.2g})'}"


def _format_tally(tally: MatchCount, what: str) -> str:
    if not tally.compared:
        return f"no {what} to compare"
    if tally.same == tally.compared:
        return f"{tally.compared:,} of {tally.compared:,} identical"
    return f"{tally.same:,} of {tally.compared:,} identical, bit for bit"


def _unreadable(found: Comparison) -> str:
    return f"; {found.unreadable:,} could not be read and were not compared" if found.unreadable else ""


def _copied(after: int) -> str:
    return f"; up to step {after} they are copied from the parent" if after >= 0 else ""


def _format_weights(found: Comparison) -> str:
    if found.weights_step is None:
        return "no checkpoint in common"
    return f"{'identical' if found.weights_same else 'different'} at step {found.weights_step}"


def _format_change(change: EnvironmentChange) -> str:
    return f"{change.name}: {change.original or 'not recorded'} → {change.reproduction or 'not recorded'}"
