"""One call of a race: finds what earlier calls left in the report, adds to it, and writes it after every process."""

import hashlib
import os
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from engines.bench.nanochat import corpus, processes, report, tasks
from engines.bench.nanochat.hidden_paths import Places
from engines.bench.nanochat.processes import Hear, Outcome
from engines.bench.nanochat.tasks import Race, Record, Task
from engines.errors import UserError
from engines.runs import manifest
from engines.system.gpus import list_gpus

_OURS = Path(__file__).resolve().parents[3]
_TELLING = ("CUDA_", "CUBLAS_", "NANOCHAT_", "OMP_", "PYTORCH_", "TORCH")
_LIMITS = ("matmul_flops", "copy_bytes")


class Watch(NamedTuple):
    """Whom to tell how it goes: `stage` is entered for every process, with its title."""

    say: Callable[[str], None]
    stage: Callable[[str], AbstractContextManager[Hear]]


def hold(race: Race, command: str, folder: Path, watch: Watch) -> tuple[Record, list[Path]]:
    """Race, and return the record and the files of the report in `folder`. No process' failure ends it."""
    race.text.mkdir(parents=True, exist_ok=True)
    text = corpus.prepare(race.corpus, race.budget, race.text, watch.say)
    machine = _perform(race, tasks.machine_task(race), watch)
    path = report.path_of(folder, race.budget.name, _device(race, machine))
    record = _record(race, command, text.facts, machine, report.load(path))
    for task in tasks.tasks(race, record):
        parts = record["parts"].setdefault(task.side, {})
        before = parts.pop(task.part, {})  # the newest stands last
        if race.missing and before.get("status") == "ok":
            parts[task.part] = before
        elif task.known is not None:
            parts[task.part] = {"status": "ok", **task.known}
        elif task.needs and parts.get(task.needs, {}).get("status") != "ok":
            parts[task.part] = {"status": "skipped", "reason": f"{task.needs} did not go well"}
        else:
            parts[task.part] = _perform(race, task, watch)
        if task.part.startswith("train "):
            _keep_cold_start(parts, before, parts[task.part])
        report.write(path, record)
    return record, report.write(path, record)


def places_of(race: Race) -> Places:
    return Places({"UPSTREAM": race.tree, "CORPUS": race.corpus, "WORK": race.work, "OURS": _OURS})


def _perform(race: Race, task: Task, watch: Watch) -> dict[str, Any]:
    """Run one process; what it took, how it ended and what it told."""
    places = places_of(race)
    task.prepare()
    cold = task.caches is not None and not task.caches.exists()
    log = race.work / "logs" / f"{race.budget.name}-{task.side}-{task.part.replace(' ', '-')}.log"
    with watch.stage(f"{race.budget.name}, {task.side}: {task.part}") as hear:
        outcome = processes.run(task.command, task.environment, task.folder, log, race.timeout, hear)
    entry = {
        "status": outcome.status,
        "reason": outcome.reason,
        "seconds": outcome.seconds,
        "peak_gpu_bytes": outcome.peak_gpu_bytes,
        "command": places.hide(shlex.join(task.command)),
        "tail": [places.hide(line) for line in outcome.tail],
        **({} if task.caches is None else {"cold": cold}),
    }
    entry |= _read(task, outcome, places)
    if entry["status"] != "ok":
        watch.say(f"  {entry['status']}: {entry['reason']}; see the report")
    return entry


def _read(task: Task, outcome: Outcome, places: Places) -> dict[str, Any]:
    """What a process that went well tells."""
    try:
        return task.read(outcome) if outcome.status == "ok" else {}
    except UserError as error:
        return {"status": "failed", "reason": places.hide(str(error))}


def _keep_cold_start(parts: dict[str, Any], *trainings: dict[str, Any]) -> None:
    """What is told of a whole training without caches outlives later ones with them."""
    for training in trainings:
        if training.get("cold") and training["status"] == "ok":
            kept = ("status", "seconds", "first_step_seconds", "phases", "command")
            parts["cold start"] = {name: training[name] for name in kept if name in training}


def _device(race: Race, machine: dict[str, Any]) -> str:
    """The name of what both train on, even where measuring it failed."""
    if "machine" in machine:
        return str(machine["machine"]["device"])
    found = list_gpus()
    return found[0].name if race.device == "cuda" and found else race.device


def _record(race: Race, command: str, text: dict[str, Any], machine: dict[str, Any], known: Record | None) -> Record:
    """A new record, with those parts of a known one that are of the same text, budget, commits and flags."""
    commits = {"ours": _source(), "upstream": race.ref}
    flags = {"ours": race.our_flags, "upstream": race.their_flags}
    budget = race.budget.facts()
    parts: dict[str, Any] = {"machine": {"limits": machine}}
    facts: dict[str, Any] = {"device": _device(race, machine), **machine.get("machine", {})}
    if known and known["corpus"] == text and known["budget"] == budget:
        for side in ("ours", "upstream"):
            if known["commits"][side] == commits[side] and known["flags"][side] == flags[side]:
                parts[side] = known["parts"].get(side, {})
        for limit in _LIMITS:  # the best that was ever seen
            facts[limit] = max(facts.get(limit, 0), known["machine"].get(limit, 0))
    return {
        "v": report.VERSION,
        "command": command,
        "budget": budget,
        "commits": commits,
        "our_commit": manifest.describe_code()["commit"],
        "flags": flags,
        "machine": facts,
        "environment": _inherited(),
        "corpus": text,
        "parts": parts,
    }


def _source() -> str:
    """What this program is, changes that are not committed included: another word for other files."""
    digest = hashlib.sha256()
    for path in sorted((_OURS / "engines").rglob("*.py")):
        digest.update(path.read_bytes())
    return f"source {digest.hexdigest()[:12]}"


def _inherited() -> dict[str, str]:
    """Variables that may change how fast or how exact both are; no paths."""
    return {name: value for name, value in os.environ.items() if name.startswith(_TELLING) and os.sep not in value}
