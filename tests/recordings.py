"""The recorded runs of every kind of ending, and what their logs say, read as plainly as can be."""

import json
import math
from pathlib import Path
from typing import Any

from engines.runs.store import Run

RUNS = [Run(path) for path in sorted((Path(__file__).parent / "fixtures" / "runs").iterdir())]
_COLUMNS = {"loss": "losses", "lr": "lr", "grad_norm": "grad_norms", "seconds": "seconds"}
Fields = dict[str, Any]


def lines_of(run: Run) -> list[Fields]:
    """Events, with null where a number was not finite put back."""
    found = []
    for line in run.events_path.read_text().splitlines():
        try:
            found.append(_restored(json.loads(line)))
        except ValueError:  # torn by a kill
            continue
    return found


def last_word(run: Run) -> tuple[list[Fields], list[Fields], list[Fields]]:
    """Steps, evaluations and samples that count: none that the run went back behind."""
    steps: list[Fields] = []
    evals: list[Fields] = []
    samples: list[Fields] = []
    for event in lines_of(run):
        if event["kind"] == "steps":
            steps += _steps(event)
        elif event["kind"] == "eval":
            evals.append(event)
        elif event["kind"] == "sample":
            samples.append(event)
        elif event["kind"] == "resumed":
            for kept in (steps, evals, samples):
                kept[:] = [one for one in kept if one["step"] <= event["from_step"]]
    return steps, evals, samples


def same(ours: float, theirs: float) -> bool:
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


def _restored(event: Fields) -> Fields:
    for name, bad in event.get("nonfinite", {}).items():
        if isinstance(bad, str):
            event[name] = float(bad)
        else:
            for index, word in bad.items():
                event[name][int(index)] = float(word)
    return event
