"""SIGKILL at any moment: a killed run resumes to the losses and weights of a run that was not killed."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from builders import events_of, weights_sha256, write_text

from engines.ablation.plan import make_plan
from engines.ablation.study import Study, create_study, start_queue
from engines.checkpoints.folders import list_steps
from engines.reproduce.compare import TOLERANCE
from engines.runs import launch, liveness
from engines.runs.history import History, read_history
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.training.create_run import create_run
from faults.campaign import Part, Tally

KILLS_OF_A_RUN = 4
_PLACES = {"checkpoint": 12, "rename": 4, "named": 4, "evaluation": 12, "event": 12}  # and the latest occurrence tried
_LONGEST = 120.0  # seconds for anything here to end
_QUICK = {"seed": 3, "sample_tokens": 12, "keep_last": 2, "batch_size": 2}
_ON_CPU = {"device": "cpu", "dtype": "float32", "compile": "off", "threads": 1}

MODELS: dict[str, dict[str, Any]] = {
    "bigram": {"steps": 400, "context_length": 4, "eval_every": 30, "checkpoint_every": 20, "sample_every": 50},
    "mini-gpt-scalar": {"model_kind": "mini-gpt", "steps": 60, "eval_every": 15, "checkpoint_every": 10},
    "mini-gpt-tensor": {
        "model_kind": "mini-gpt", "mode": "tensor", "steps": 150, "eval_every": 40, "checkpoint_every": 20, **_ON_CPU,
    },
    "gpt": {
        "model_kind": "gpt", "depth": 1, "width": 32, "heads": 2, "vocab_size": 270, "context_length": 16, "steps": 80,
        "eval_every": 20, "checkpoint_every": 10, **_ON_CPU,
    },
    "gpt-cuda": {
        "model_kind": "gpt", "depth": 2, "vocab_size": 270, "context_length": 64, "batch_size": 8, "steps": 400,
        "eval_every": 50, "checkpoint_every": 40, "device": "cuda", "compile": "off",
    },
}  # fmt: skip
# Units go round this list: of 600 kills, 50 are of a gpt.
KINDS = ("bigram", "mini-gpt-scalar", "bigram", "study", "mini-gpt-tensor", "bigram") * 2
KINDS = (*KINDS[:5], "gpt", *KINDS[6:11], "reproduce")


def one_unit(chance: random.Random, index: int, folder: Path) -> Tally:
    """Kill one run, study or reproduction several times, and compare its final results."""
    kind = KINDS[index % len(KINDS)]
    place = folder / f"unit-{index}"
    place.mkdir()
    if kind == "study":
        return kill_study(chance, place)
    if kind == "reproduce":
        return kill_reproduction(chance, place)
    return kill_run(kind, chance, place)


PART = Part("a killed run, study or reproduction ends exactly as one that was not killed", 600, one_unit)


# --- runs ---------------------------------------------------------------------------------------


class _Reference(NamedTuple):
    """A run that was not killed, and its duration in seconds."""

    run: Run
    seconds: float


def _new_run(kind: str, folder: Path) -> Run:
    return create_run({"data": str(write_text(folder)), **_QUICK, **MODELS[kind]}, folder / "results")


def _reference(kind: str, folder: Path) -> _Reference:
    """Train the reference run once for all units of this campaign."""
    place = folder / f"reference-{kind}"
    started = time.monotonic()
    if not place.exists():
        place.mkdir()
        run = _new_run(kind, place)
        if launch.launch(run).wait(_LONGEST) != 0:
            raise RuntimeError(f"the reference run failed: {run.log_path.read_text()[-2000:]}")
        (place / "seconds").write_text(str(time.monotonic() - started))
    return _Reference(list_runs(place / "results")[0], float((place / "seconds").read_text()))


def kill_run(kind: str, chance: random.Random, folder: Path, kills: int = KILLS_OF_A_RUN) -> Tally:
    """Kill a run `kills` times, at chosen places and at random moments, then let it finish.

    On a CPU it must end bit for bit as a run that was never killed; on a GPU, whose sums have no fixed order, up to
    rounding.
    """
    reference = _reference(kind, folder.parent)
    run, violations, killed = _new_run(kind, folder), [], 0
    for attempt in range(4 * kills):
        if killed == kills:
            break
        was_killed = _kill_once(run, reference.seconds, chance)
        state = liveness.derive_state(run, read_history(run))
        if was_killed and state != "finished":
            killed += 1
            if state != "killed":
                violations.append(f"{kind}: a killed run is shown as {state}")
        else:  # it reported its end before the kill: compare it, and begin another
            violations += [f"{kind}: {difference}" for difference in _differences(run, reference.run)]
            place = folder / f"again-{attempt}"
            place.mkdir()
            run = _new_run(kind, place)
    code = launch.launch(run).wait(_LONGEST)
    if code != 0:
        violations.append(f"{kind}: the resumed run ended with {code}: {_last_event(run)}")
    violations += [f"{kind}: {difference}" for difference in _differences(run, reference.run)]
    return Tally(killed, violations)


def _kill_once(run: Run, seconds: float, chance: random.Random) -> bool:
    """Start a worker that is killed; return False if it finished first."""
    if chance.random() < 0.5:
        place, latest = chance.choice(list(_PLACES.items()))
        worker = launch.launch(run, "killed_worker", {"KILL_AT": f"{place}:{chance.randint(1, latest)}"})
        return worker.wait(_LONGEST) == -signal.SIGKILL
    worker = launch.launch(run)
    try:
        worker.wait(chance.uniform(0, seconds))
    except subprocess.TimeoutExpired:
        worker.kill()
    return worker.wait(_LONGEST) == -signal.SIGKILL


def _differences(run: Run, reference: Run) -> list[str]:
    """Return the differences between the results of two runs."""
    ours, theirs = read_history(run), read_history(reference)
    if reference.config["resolved"]["device"] == "cuda":
        return _differences_beyond_rounding(ours, theirs)
    last = reference.config["resolved"]["steps"]
    compared = {
        "losses": (ours.losses, theirs.losses),
        "learning rates": (ours.lr, theirs.lr),
        "gradient norms": (ours.grad_norms, theirs.grad_norms),
        "evaluations": (_timeless(ours.evals), _timeless(theirs.evals)),
        "samples": (_timeless(ours.samples), _timeless(theirs.samples)),
        "state": (liveness.derive_state(run, ours), "finished"),
        "checkpoints": tuple(list_steps(one.checkpoints_dir) for one in (run, reference)),
    }
    found = [f"{name} differ from an uninterrupted run's" for name, (a, b) in compared.items() if a != b]
    try:
        if weights_sha256(run, last) != weights_sha256(reference, last):
            found.append("final weights differ from an uninterrupted run's")
    except (OSError, KeyError) as error:
        found.append(f"the final checkpoint cannot be read: {error!r}")
    return found


def _differences_beyond_rounding(ours: History, theirs: History) -> list[str]:
    if len(ours.losses) != len(theirs.losses):
        return [f"{len(ours.losses)} steps are recorded instead of {len(theirs.losses)}"]
    furthest = max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True))
    return [f"losses differ by {furthest:.2g}"] if not furthest <= TOLERANCE else []


def _timeless(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in event.items() if name not in ("t", "seconds", "crc")} for event in events]


def _last_event(run: Run) -> str:
    ended = events_of(run, "ended")
    return str(ended[-1].get("detail")) if ended else "no last event"


# --- studies and reproductions --------------------------------------------------------------------


def _new_study(folder: Path) -> Study:
    given = {"data": str(write_text(folder)), **_QUICK, "steps": 120, "eval_every": 30, "sample_tokens": 0}
    plan = make_plan(given, {"lr": (0.01, 0.1)}, {"seeds": 2, "jobs": 2, "pick": "one-at-a-time"})
    return create_study(folder / "results", plan)


def _study_figures(study: Study) -> Any:
    table = json.loads((study.path / "table.json").read_text())
    return {cell["variant"]: (cell["val_bpb"], cell["verdict"]) for cell in table["cells"]}


def kill_study(chance: random.Random, folder: Path) -> Tally:
    """Kill a study's queue, and in half of the cases its runs too, then resume it."""
    place = folder.parent / "reference-study"
    started = time.monotonic()
    if not place.exists():
        place.mkdir()
        start_queue(_new_study(place)).wait(_LONGEST)
        (place / "seconds").write_text(str(time.monotonic() - started))
    reference, seconds = Study(place / "results" / "studies" / "study-1"), float((place / "seconds").read_text())
    study, killed = _new_study(folder), 0
    for _ in range(KILLS_OF_A_RUN):
        queue = start_queue(study)
        try:
            queue.wait(chance.uniform(0, seconds))
            break
        except subprocess.TimeoutExpired:
            processes = [psutil.Process(queue.pid)]
            if chance.random() < 0.5:
                processes += processes[0].children(recursive=True)
            for process in processes:
                process.kill()
            queue.wait(_LONGEST)
            killed += 1
    code = start_queue(study).wait(_LONGEST) if liveness.derive_state(study, read_history(study)) != "finished" else 0
    found = [] if code == 0 else [f"study: the resumed queue ended with {code}"]
    if not found and _study_figures(study) != _study_figures(reference):
        found.append("study: figures differ from those of an uninterrupted study")
    return Tally(max(1, killed), found)


def kill_reproduction(chance: random.Random, folder: Path) -> Tally:
    """Kill `reproduce` and its worker: the original is untouched, and can be reproduced afterwards."""
    reference = _reference("bigram", folder.parent)
    before = _content(reference.run.path)
    killed, violations = 0, []
    words = [sys.executable, "-m", "nanochat_tui", "--no-ui", "reproduce", str(reference.run.path)]
    words += ["--results-dir", str(folder / "results"), "--json"]
    for _ in range(KILLS_OF_A_RUN):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            process.communicate(timeout=chance.uniform(0, 1.5 * reference.seconds))
        except subprocess.TimeoutExpired:
            for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                one.kill()
            process.communicate()
            killed += 1
    done = subprocess.run(words, capture_output=True, text=True, timeout=_LONGEST)
    if done.returncode != 0 or json.loads(done.stdout)["verdict"] != "identical":
        violations.append(f"reproduce: ended with {done.returncode} after kills: {done.stderr[-500:]}")
    if _content(reference.run.path) != before:
        violations.append("reproduce: the original run's files changed")
    return Tally(max(1, killed), violations)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
