"""The recorded runs of every kind of ending, and a simple reader of their logs to compare with."""

import json
import math
from pathlib import Path
from typing import Any

from engines.runs.store import Run

RUNS = [Run(path) for path in sorted((Path(__file__).parent / "fixtures" / "runs").iterdir())]
_COLUMNS = {"loss": "losses", "lr": "lr", "grad_norm": "grad_norms", "seconds": "seconds"}
Fields = dict[str, Any]


def read_events(run: Run) -> list[Fields]:
    """Return the events of a log, with nonfinite numbers in place of their nulls."""
    found = []
    for line in run.events_path.read_text().splitlines():
        try:
            found.append(_restore_nonfinite(json.loads(line)))
        except ValueError:  # incomplete because the run was killed
            continue
    return found


def valid_events(run: Run) -> tuple[list[Fields], list[Fields], list[Fields]]:
    """Return the steps, evaluations and samples that are valid: those that no resume has dropped."""
    steps: list[Fields] = []
    evals: list[Fields] = []
    samples: list[Fields] = []
    for event in read_events(run):
        if event["kind"] == "steps":
            steps += _steps(event)
        elif event["kind"] == "eval":
            evals.append(event)
        elif event["kind"] == "sample":
            samples.append(event)
        elif event["kind"] == "resumed":
            for events in (steps, evals, samples):
                events[:] = [other for other in events if other["step"] <= event["from_step"]]
    return steps, evals, samples


def are_equal(ours: float, theirs: float) -> bool:
    return ours == theirs or (math.isnan(ours) and math.isnan(theirs))


def _steps(event: Fields) -> list[Fields]:
    count = len(event["losses"])
    each = event["tokens"] // (event["first_step"] + count - 1)
    return [
        {
            "step": (step := event["first_step"] + index),
            "tokens": each * step,
            "done": event["t"] - math.fsum(event["seconds"][index + 1 :]),
            **{name: event[column][index] for name, column in _COLUMNS.items()},
        }
        for index in range(count)
    ]


def _restore_nonfinite(event: Fields) -> Fields:
    for name, bad in event.get("nonfinite", {}).items():
        if isinstance(bad, str):
            event[name] = float(bad)
        else:
            for index, word in bad.items():
                event[name][int(index)] = float(word)
    return event
