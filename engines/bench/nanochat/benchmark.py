"""One call of a benchmark. It adds to the report of earlier calls, and writes the report after every process."""

import hashlib
import os
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from engines.bench import processes
from engines.bench.hidden_paths import PathMask
from engines.bench.nanochat import corpus, report, tasks
from engines.bench.nanochat.tasks import BenchmarkTask, NanochatBenchmark, Record
from engines.bench.processes import OnOutput, ProcessOutcome
from engines.errors import UserError
from engines.runs import manifest
from engines.system.gpus import list_gpus

_OURS = Path(__file__).resolve().parents[3]
_RELEVANT_VARIABLES = ("CUDA_", "CUBLAS_", "NANOCHAT_", "OMP_", "PYTORCH_", "TORCH")
_LIMITS = ("matmul_flops", "copy_bytes")


class BenchmarkProgress(NamedTuple):
    """Callbacks for progress. `stage` is entered for each process, with its title."""

    report: Callable[[str], None]
    stage: Callable[[str], AbstractContextManager[OnOutput]]


def run_benchmark(
    bench: NanochatBenchmark, command: str, folder: Path, progress: BenchmarkProgress
) -> tuple[Record, list[Path]]:
    """Run a benchmark; return the record and the files of the report in `folder`. A failing process does not end it."""
    bench.text.mkdir(parents=True, exist_ok=True)
    text = corpus.prepare_corpus(bench.corpus, bench.budget, bench.text, progress.report)
    machine = _run_task(bench, tasks.build_machine_task(bench), progress)
    path = report.get_report_path(folder, bench.budget.name, _device_name(bench, machine))
    record = _build_record(bench, command, text.facts, machine, report.load_record(path))
    for task in tasks.list_tasks(bench, record):
        parts = record["parts"].setdefault(task.side, {})
        before = parts.pop(task.part, {})  # the newest part is last
        if bench.missing and before.get("status") == "ok":
            parts[task.part] = before
        elif task.known is not None:
            parts[task.part] = {"status": "ok", **task.known}
        elif task.needs and parts.get(task.needs, {}).get("status") != "ok":
            parts[task.part] = {"status": "skipped", "reason": f"{task.needs} did not succeed"}
        else:
            parts[task.part] = _run_task(bench, task, progress)
        if task.part.startswith("train "):
            _keep_cold_start(parts, before, parts[task.part])
        report.write_report(path, record)
    return record, report.write_report(path, record)


def build_path_mask(bench: NanochatBenchmark) -> PathMask:
    """Return the names that replace the paths of a benchmark in its report."""
    return PathMask({"UPSTREAM": bench.tree, "CORPUS": bench.corpus, "WORK": bench.work, "OURS": _OURS})


def _run_task(bench: NanochatBenchmark, task: BenchmarkTask, progress: BenchmarkProgress) -> dict[str, Any]:
    """Run one process; return its duration, its exit status and its results."""
    mask = build_path_mask(bench)
    task.prepare()
    cold = task.caches is not None and not task.caches.exists()
    log = bench.work / "logs" / f"{bench.budget.name}-{task.side}-{task.part.replace(' ', '-')}.log"
    with progress.stage(f"{bench.budget.name}, {task.side}: {task.part}") as on_output:
        outcome = processes.run_process(task.command, task.environment, task.folder, log, bench.timeout, on_output)
    entry = {
        "status": outcome.status,
        "reason": outcome.reason,
        "seconds": outcome.seconds,
        "peak_gpu_bytes": outcome.peak_gpu_bytes,
        "command": mask.hide(shlex.join(task.command)),
        "tail": [mask.hide(line) for line in outcome.tail],
        **({} if task.caches is None else {"cold": cold}),
    }
    entry |= _read_results(task, outcome, mask)
    if entry["status"] != "ok":
        progress.report(f"  {entry['status']}: {entry['reason']}; see the report")
    return entry


def _read_results(task: BenchmarkTask, outcome: ProcessOutcome, mask: PathMask) -> dict[str, Any]:
    """Return the results of a process that succeeded."""
    try:
        return task.read(outcome) if outcome.status == "ok" else {}
    except UserError as error:
        return {"status": "failed", "reason": mask.hide(str(error))}


def _keep_cold_start(parts: dict[str, Any], *trainings: dict[str, Any]) -> None:
    """Keep the duration of a whole training without caches when later ones have caches."""
    for training in trainings:
        if training.get("cold") and training["status"] == "ok":
            fields = ("status", "seconds", "first_step_seconds", "phases", "command")
            parts["cold start"] = {name: training[name] for name in fields if name in training}


def _device_name(bench: NanochatBenchmark, machine: dict[str, Any]) -> str:
    """Return the name of the device, even if the machine could not be measured."""
    if "machine" in machine:
        return str(machine["machine"]["device"])
    found = list_gpus()
    return found[0].name if bench.device == "cuda" and found else bench.device


def _build_record(
    bench: NanochatBenchmark, command: str, text: dict[str, Any], machine: dict[str, Any], known: Record | None
) -> Record:
    """Return a new record with the parts of a known one that have the same text, budget, commit and options."""
    commits = {"ours": _hash_source(), "upstream": bench.ref}
    flags = {"ours": bench.our_flags, "upstream": bench.their_flags}
    budget = bench.budget.as_json()
    parts: dict[str, Any] = {"machine": {"limits": machine}}
    facts: dict[str, Any] = {"device": _device_name(bench, machine), **machine.get("machine", {})}
    if known and known["corpus"] == text and known["budget"] == budget:
        for side in ("ours", "upstream"):
            if known["commits"][side] == commits[side] and known["flags"][side] == flags[side]:
                parts[side] = known["parts"].get(side, {})
        for limit in _LIMITS:  # the best of all calls
            facts[limit] = max(facts.get(limit, 0), known["machine"].get(limit, 0))
    return {
        "v": report.VERSION,
        "command": command,
        "budget": budget,
        "commits": commits,
        "our_commit": manifest.describe_code()["commit"],
        "flags": flags,
        "machine": facts,
        "environment": _read_environment(),
        "corpus": text,
        "parts": parts,
    }


def _hash_source() -> str:
    """Return a hash of the source, which includes changes that are not committed."""
    digest = hashlib.sha256()
    for path in sorted((_OURS / "engines").rglob("*.py")):
        digest.update(path.read_bytes())
    return f"source {digest.hexdigest()[:12]}"


def _read_environment() -> dict[str, str]:
    """Return variables that may affect the speed or precision of both sides, without those that contain paths."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(_RELEVANT_VARIABLES)}
    return {name: value for name, value in variables.items() if os.sep not in value}
