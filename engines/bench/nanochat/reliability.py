"""What a kill costs: `python -m engines.bench.nanochat.reliability SIDE SPEC` trains whole, again, killed and resumed.

SPEC is JSON: `train` and `resume` are commands, in which {name} stands for a training's name and {step} for where to go
on; `place` is what a training leaves things in. The last line is JSON: steps lost, how far losses then are from
those of the training that was left alone, how far those of the same seed are from each other, and what becomes of a
checkpoint of which half is missing.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from engines.bench.nanochat import our_training, upstream_training
from engines.bench.nanochat.processes import COLOURS
from engines.errors import UserError
from engines.random_stream import RandomStream
from engines.runs.history import History, read_history
from engines.runs.lookup import list_runs
from engines.runs.reader import EventReader

_POLL = 0.005  # seconds between looks at a run that is to be killed
_TELL = 1.0  # seconds between lines about it


class Resumed(NamedTuple):
    """Where a training went on, and the losses of all its steps as they stand in the end."""

    from_step: int
    losses: list[float]


class Trainings(Protocol):
    """The trainings of a side. Each has a name; the losses of a step that is done again are those of the last time."""

    def whole(self, name: str) -> list[float]:
        """The losses of a training that is left alone."""

    def killed(self, name: str, at: int) -> int:
        """Begin one, kill it when `at` steps are told; how many it had told then."""

    def resumed(self, name: str) -> Resumed:
        """Take it up again and let it end. UserError where that fails."""

    def newest_checkpoint(self, name: str) -> Path:
        """The file with the weights."""


def points(steps: int, count: int) -> list[int]:
    """The same for both sides: not before there is a checkpoint, nor at the end."""
    stream = RandomStream(0, "kills")
    return sorted(steps // 5 + int(stream.unit() * steps * 0.7) for _ in range(count))


def examine(trainings: Trainings, steps: int, kills: int, at_once: int) -> dict[str, Any]:
    """All of it, so many kills at once. What fails is told in words where its figure would stand."""
    alone = trainings.whole("alone")
    again = trainings.whole("again")
    names = [f"killed-{place}" for place in range(kills)]
    with ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(lambda name, at: _kill(trainings, name, at, alone), names, points(steps, kills)))
    return {
        "steps": steps,
        "same_seed_twice": _apart(alone, again),
        "kills": found,
        "truncated": _truncated(trainings, "truncated", points(steps, 1)[0]),
    }


def _kill(trainings: Trainings, name: str, at: int, alone: Sequence[float]) -> dict[str, Any]:
    told = at
    try:
        told = trainings.killed(name, at)
        resumed = trainings.resumed(name)
    except UserError as error:
        return {"at": told, "failed": str(error)}
    gap = _apart(alone[resumed.from_step :], resumed.losses[resumed.from_step :])
    return {"at": told, "resumed_from": resumed.from_step, "lost": told - resumed.from_step, "gap": gap}


def _truncated(trainings: Trainings, name: str, at: int) -> str:
    try:
        trainings.killed(name, at)
        path = trainings.newest_checkpoint(name)
    except UserError as error:
        return f"not seen: {error}"
    os.truncate(path, path.stat().st_size // 2)
    try:
        resumed = trainings.resumed(name)
    except UserError as error:
        return f"refused, and the training did not go on: {error}"
    return f"went on from step {resumed.from_step}"


def _apart(a: Sequence[float], b: Sequence[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def commands(spec: dict[str, Any], which: str, name: str, step: int = 0) -> list[str]:
    return [word.replace("{name}", name).replace("{step}", str(step)) for word in spec[which]]


# --- ours -----------------------------------------------------------------------------------------


class OurTrainings:
    """Runs, each in a results directory of its own."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec

    def whole(self, name: str) -> list[float]:
        shutil.rmtree(self._place(name), ignore_errors=True)
        _finish(commands(self._spec, "train", name))
        return self._losses(name)

    def killed(self, name: str, at: int) -> int:
        shutil.rmtree(self._place(name), ignore_errors=True)
        process = subprocess.Popen(commands(self._spec, "train", name), stdout=subprocess.DEVNULL)
        history = self._follow(name, process, at)
        with contextlib.suppress(ProcessLookupError):  # it was quicker, and has ended by itself
            os.kill(history.runs[-1]["pid"], signal.SIGKILL)
        process.wait()
        return read_history(our_training.the_run(self._place(name))).step

    def resumed(self, name: str) -> Resumed:
        _finish(commands(self._spec, "resume", name))
        events = EventReader(our_training.the_run(self._place(name)).events_path).poll()
        from_step = [event["from_step"] for _, event in events if event["kind"] == "resumed"][-1]
        return Resumed(from_step, self._losses(name))

    def newest_checkpoint(self, name: str) -> Path:
        return our_training.last_checkpoint(self._place(name)) / "model.safetensors"

    def _follow(self, name: str, process: "subprocess.Popen[bytes]", at: int) -> History:
        """Its history when it has told so many steps."""
        history, reader = History(), None
        told = 0.0
        while history.step < at:
            if process.poll() is not None:
                raise UserError(f"it ended at step {history.step}, before it could be killed at {at}")
            if reader is None and list_runs(self._place(name)):  # not while its folder is being filled
                reader = EventReader(our_training.the_run(self._place(name)).events_path)
            if reader is not None:
                history.apply(event for _, event in reader.poll())
            if time.monotonic() - told > _TELL:
                told = time.monotonic()
                print(f"{name}: step {history.step}, to be killed at {at}")
            time.sleep(_POLL)
        return history

    def _place(self, name: str) -> Path:
        return Path(self._spec["place"].replace("{name}", name))

    def _losses(self, name: str) -> list[float]:
        return list(read_history(our_training.the_run(self._place(name))).losses)


# --- upstream's -----------------------------------------------------------------------------------


class TheirTrainings:
    """Trainings under a model tag each. What they print is all there is of their losses: a moving average."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._averages: dict[str, list[float]] = {}

    def whole(self, name: str) -> list[float]:
        self._averages[name] = self._train(commands(self._spec, "train", name), lambda step: False)
        return upstream_training.losses_of_averages(self._averages[name])

    def killed(self, name: str, at: int) -> int:
        shutil.rmtree(self._place(name), ignore_errors=True)
        self._averages[name] = self._train(commands(self._spec, "train", name), lambda step: step + 1 >= at)
        return len(self._averages[name])

    def resumed(self, name: str) -> Resumed:
        step = self._newest_step(name)
        after = self._train(commands(self._spec, "resume", name, step), lambda step: False)
        return Resumed(step, upstream_training.losses_of_averages([*self._averages[name][:step], *after]))

    def newest_checkpoint(self, name: str) -> Path:
        return self._place(name) / f"model_{self._newest_step(name):06d}.pt"

    def _newest_step(self, name: str) -> int:
        """As its own find_last_step finds it: by the names of files."""
        steps = [
            int(match[1]) for path in self._place(name).glob("model_*.pt") if (match := re.search(r"(\d+)", path.name))
        ]
        if not steps:
            raise UserError("there is no checkpoint to go on from")
        return max(steps)

    def _place(self, name: str) -> Path:
        return Path(self._spec["place"].replace("{name}", name))

    def _train(self, command: list[str], enough: Callable[[int], bool]) -> list[float]:
        """The averages that it prints, until it ends or it is killed because it has told enough."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        averages = []
        with process:
            for line in _echoed(process):
                steps, _ = upstream_training.parse_steps([line], [0.0])
                averages += [step.loss for step in steps]
                if steps and enough(steps[0].step):
                    process.kill()
                    break
        if process.returncode > 0:
            raise UserError(f"upstream ended with exit code {process.returncode}")
        return averages


def _echoed(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="")
        yield COLOURS.sub("", line).rstrip("\n")


def _finish(command: list[str]) -> None:
    """Its lines go where ours go. UserError where it does not end well."""
    code = subprocess.run(command).returncode
    if code:
        raise UserError(f"ours ended with exit code {code}")


def main(side: str, spec: str) -> None:
    told = json.loads(spec)
    trainings: Trainings = OurTrainings(told) if side == "ours" else TheirTrainings(told)
    print(json.dumps(examine(trainings, told["steps"], told["kills"], told["at_once"])))


if __name__ == "__main__":
    main(*sys.argv[1:])
