"""The cost of a killed training: `python -m engines.bench.nanochat.reliability SIDE SPEC`.

It trains twice without interruption, then kills and resumes further trainings. SPEC is JSON: `train` and `resume` are
commands, in which {name} is the name of a training and {step} the step to resume from, and `place` is the folder of a
training. The last line is JSON: the steps that were lost, the difference of the losses from those of the uninterrupted
training, the difference between two trainings with the same seed, and the effect of a truncated checkpoint.
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
from engines.bench.processes import COLOURS
from engines.errors import UserError
from engines.random_stream import RandomStream
from engines.runs.history import History, read_history
from engines.runs.lookup import list_runs
from engines.runs.reader import EventReader

_POLL = 0.005  # seconds between reads of the log of a run that is to be killed
_PRINT_INTERVAL = 1.0  # seconds between lines about it


class ResumedTraining(NamedTuple):
    """The step from which a training was resumed, and the final losses of all its steps."""

    from_step: int
    losses: list[float]


class TrainingCommands(Protocol):
    """The trainings of a side, by name. If a step is repeated, its last loss counts."""

    def train(self, name: str) -> list[float]:
        """Train without interruption, and return the losses."""

    def train_and_kill(self, name: str, step: int) -> int:
        """Kill a training when it has reported `step` steps, and return the number of reported steps."""

    def resume(self, name: str) -> ResumedTraining:
        """Resume a training to its end. Raises UserError if that fails."""

    def find_newest_checkpoint(self, name: str) -> Path:
        """Return the file with the newest weights."""


def choose_kill_steps(steps: int, count: int) -> list[int]:
    """Return random steps, the same for both sides, after the first checkpoint and before the end."""
    stream = RandomStream(0, "kills")
    return sorted(steps // 5 + int(stream.unit() * steps * 0.7) for _ in range(count))


def measure_reliability(trainings: TrainingCommands, steps: int, kills: int, at_once: int) -> dict[str, Any]:
    """Run everything, with `at_once` kills at a time. A failure is described in place of its figures."""
    uninterrupted = trainings.train("alone")
    repeated = trainings.train("again")
    names = [f"killed-{index}" for index in range(kills)]
    with ThreadPoolExecutor(at_once) as pool:
        results = list(
            pool.map(
                lambda name, step: _kill_and_resume(trainings, name, step, uninterrupted),
                names,
                choose_kill_steps(steps, kills),
            )
        )
    return {
        "steps": steps,
        "same_seed_twice": _compute_gap(uninterrupted, repeated),
        "kills": results,
        "truncated": _truncate_and_resume(trainings, "truncated", choose_kill_steps(steps, 1)[0]),
    }


def _kill_and_resume(
    trainings: TrainingCommands, name: str, step: int, uninterrupted: Sequence[float]
) -> dict[str, Any]:
    reached = step
    try:
        reached = trainings.train_and_kill(name, step)
        resumed = trainings.resume(name)
    except UserError as error:
        return {"at": reached, "failed": str(error)}
    gap = _compute_gap(uninterrupted[resumed.from_step :], resumed.losses[resumed.from_step :])
    return {"at": reached, "resumed_from": resumed.from_step, "lost": reached - resumed.from_step, "gap": gap}


def _truncate_and_resume(trainings: TrainingCommands, name: str, step: int) -> str:
    try:
        trainings.train_and_kill(name, step)
        path = trainings.find_newest_checkpoint(name)
    except UserError as error:
        return f"not measured: {error}"
    os.truncate(path, path.stat().st_size // 2)
    try:
        resumed = trainings.resume(name)
    except UserError as error:
        return f"the training was not resumed: {error}"
    return f"resumed from step {resumed.from_step}"


def _compute_gap(a: Sequence[float], b: Sequence[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def fill_command(spec: dict[str, Any], which: str, name: str, step: int = 0) -> list[str]:
    """Return the command `train` or `resume` with name and step filled in."""
    return [word.replace("{name}", name).replace("{step}", str(step)) for word in spec[which]]


# --- ours -----------------------------------------------------------------------------------------


class OurTrainings:
    """Runs of ours, each in a results directory of its own."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec

    def train(self, name: str) -> list[float]:
        shutil.rmtree(self._folder(name), ignore_errors=True)
        _run_to_end(fill_command(self._spec, "train", name))
        return self._losses(name)

    def train_and_kill(self, name: str, step: int) -> int:
        shutil.rmtree(self._folder(name), ignore_errors=True)
        process = subprocess.Popen(fill_command(self._spec, "train", name), stdout=subprocess.DEVNULL)
        history = self._wait_for_step(name, process, step)
        with contextlib.suppress(ProcessLookupError):  # it has already exited
            os.kill(history.runs[-1]["pid"], signal.SIGKILL)
        process.wait()
        return read_history(our_training.find_only_run(self._folder(name))).step

    def resume(self, name: str) -> ResumedTraining:
        _run_to_end(fill_command(self._spec, "resume", name))
        events = EventReader(our_training.find_only_run(self._folder(name)).events_path).poll()
        from_step = [event["from_step"] for _, event in events if event["kind"] == "resumed"][-1]
        return ResumedTraining(from_step, self._losses(name))

    def find_newest_checkpoint(self, name: str) -> Path:
        return our_training.find_last_checkpoint(self._folder(name)) / "model.safetensors"

    def _wait_for_step(self, name: str, process: "subprocess.Popen[bytes]", step: int) -> History:
        """Return the history of a run when it has logged `step` steps."""
        history, reader = History(), None
        printed_at = 0.0
        while history.step < step:
            if process.poll() is not None:
                raise UserError(f"the training ended at step {history.step}, before it could be killed at step {step}")
            if reader is None and list_runs(self._folder(name)):  # its folder is complete
                reader = EventReader(our_training.find_only_run(self._folder(name)).events_path)
            if reader is not None:
                history.apply(event for _, event in reader.poll())
            if time.monotonic() - printed_at > _PRINT_INTERVAL:
                printed_at = time.monotonic()
                print(f"{name}: step {history.step}, to be killed at step {step}")
            time.sleep(_POLL)
        return history

    def _folder(self, name: str) -> Path:
        return Path(self._spec["place"].replace("{name}", name))

    def _losses(self, name: str) -> list[float]:
        return list(read_history(our_training.find_only_run(self._folder(name))).losses)


# --- upstream -----------------------------------------------------------------------------------


class UpstreamTrainings:
    """Upstream's trainings, with a model tag each. Losses are recovered from the printed moving averages."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._averages: dict[str, list[float]] = {}

    def train(self, name: str) -> list[float]:
        self._averages[name] = self._run(fill_command(self._spec, "train", name), lambda index: False)
        return upstream_training.recover_losses(self._averages[name])

    def train_and_kill(self, name: str, step: int) -> int:
        shutil.rmtree(self._folder(name), ignore_errors=True)
        self._averages[name] = self._run(fill_command(self._spec, "train", name), lambda index: index + 1 >= step)
        return len(self._averages[name])

    def resume(self, name: str) -> ResumedTraining:
        step = self._newest_step(name)
        after = self._run(fill_command(self._spec, "resume", name, step), lambda index: False)
        return ResumedTraining(step, upstream_training.recover_losses([*self._averages[name][:step], *after]))

    def find_newest_checkpoint(self, name: str) -> Path:
        return self._folder(name) / f"model_{self._newest_step(name):06d}.pt"

    def _newest_step(self, name: str) -> int:
        """Return the newest step by file name, as upstream's find_last_step does."""
        steps = [
            int(match[1]) for path in self._folder(name).glob("model_*.pt") if (match := re.search(r"(\d+)", path.name))
        ]
        if not steps:
            raise UserError("no checkpoint to resume from")
        return max(steps)

    def _folder(self, name: str) -> Path:
        return Path(self._spec["place"].replace("{name}", name))

    def _run(self, command: list[str], is_enough: Callable[[int], bool]) -> list[float]:
        """Return the printed averages up to the end, or until `is_enough` is true of a step; then it is killed."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        averages = []
        with process:
            for line in _print_lines(process):
                steps, _ = upstream_training.parse_steps([line], [0.0])
                averages += [step.loss for step in steps]
                if steps and is_enough(steps[0].step):
                    process.kill()
                    break
        if process.returncode > 0:
            raise UserError(f"upstream exited with code {process.returncode}")
        return averages


def _print_lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="")
        yield COLOURS.sub("", line).rstrip("\n")


def _run_to_end(command: list[str]) -> None:
    """Run a command with our output. Raises UserError if it fails."""
    code = subprocess.run(command).returncode
    if code:
        raise UserError(f"ours exited with code {code}")


def main(side: str, spec: str) -> None:
    """Measure one side and print the results."""
    parsed = json.loads(spec)
    trainings: TrainingCommands = OurTrainings(parsed) if side == "ours" else UpstreamTrainings(parsed)
    print(json.dumps(measure_reliability(trainings, parsed["steps"], parsed["kills"], parsed["at_once"])))


if __name__ == "__main__":
    main(*sys.argv[1:])
