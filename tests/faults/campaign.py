"""Runs parts of the campaign case by case and accumulates their results, with commit and seed, in one file."""

import fcntl
import importlib
import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from engines.system.gpus import list_gpus
from faults.sandbox import ROOT, sandbox

RESULTS = ROOT / "results"
_MOST_EXAMPLES = 20  # violations kept of each part


class Tally(NamedTuple):
    """The result of one unit: the number of tried cases, and a sentence for each violation of the guarantee."""

    cases: int
    violations: list[str]


class Part(NamedTuple):
    """One kind of fault. `run(chance, index, folder)` tries one unit, and may keep things in `folder` between units."""

    guarantee: str
    target: int  # cases of the full campaign
    run: Callable[[random.Random, int, Path], Tally]
    needs_gpu: bool = False


# name -> module; a part's module has a PART
NAMES = {
    "kills": "kills",
    "gpu-kills": "gpu_kills",
    "damage": "damage",
    "disk": "disk",
    "command-lines": "command_lines",
    "processes": "command_processes",
    "files": "input_files",
    "keys": "keys",
    "streams": "streams",
}


def part(name: str) -> Part:
    loaded: Part = importlib.import_module(f"faults.{NAMES[name]}").PART
    return loaded


def runs_here(name: str) -> bool:
    """Return whether this machine has what the part needs."""
    return not part(name).needs_gpu or bool(list_gpus())


def run_part(name: str, cases: int, seed: int, report: Callable[[str], None]) -> Tally:
    """Try units until `cases` cases are done. Unit n of a seed is always the same."""
    chosen = part(name)
    done, violations = 0, []
    started = reported = time.monotonic()
    with sandbox() as folder:
        index = 0
        while done < cases:
            tally = chosen.run(random.Random(f"{name} {seed} {index}"), index, folder)
            done += tally.cases
            violations += [f"seed {seed}, unit {index}: {violation}" for violation in tally.violations]
            for violation in tally.violations:
                report(f"{name}: {violation}")
            index += 1
            if time.monotonic() - reported > 5:
                reported = time.monotonic()
                rate = done / (reported - started)
                report(f"{name}: {done:,} of {cases:,} cases, {len(violations)} violations, {rate:.1f} per second")
    return Tally(done, violations)


# --- results ------------------------------------------------------------------------------------


def commit() -> str:
    """Return the commit that is tested, marked if the checkout differs from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()
    where = [":(exclude)results"]
    changed = subprocess.run([*git, "status", "--porcelain", "--", *where], capture_output=True, text=True).stdout
    return (head or "unknown") + ("+changes" if changed.strip() else "")


def record(folder: Path, commit: str, name: str, tally: Tally, seed: int) -> None:
    """Add a part's result to those of the same commit in `folder`; those of other commits are dropped."""
    folder.mkdir(exist_ok=True)
    with open(folder / ".faults.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        results = _read(folder)
        kept = results.get(name, {})
        if kept.get("commit") != commit:
            kept = {"commit": commit, "cases": 0, "violations": 0, "examples": [], "seeds": []}
        kept["cases"] += tally.cases
        kept["violations"] += len(tally.violations)
        kept["examples"] = [*kept["examples"], *tally.violations][:_MOST_EXAMPLES]
        kept["seeds"].append(seed)
        results[name] = kept
        _write(folder / "faults.json", json.dumps(results, indent=1) + "\n")
        _write(folder / "faults.md", summary(results))


def next_seed(folder: Path, commit: str, name: str) -> int:
    """Return a seed that this commit has not tried yet, by the results in `folder`."""
    kept = _read(folder).get(name, {})
    return max(kept["seeds"], default=0) + 1 if kept.get("commit") == commit else 1


def summary(results: dict[str, Any]) -> str:
    """Render the results as Markdown."""
    lines = [
        "# Fault campaign",
        "",
        "Results accumulate for each part within one commit. Again: `make faults`, or one part with",
        "`make faults PART=kills N=200`.",
        "",
        "| part | guarantee | cases | target | violations | commit |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for name in NAMES:
        if kept := results.get(name):
            tested = part(name)
            lines.append(
                f"| {name} | {tested.guarantee} | {kept['cases']:,} | {tested.target:,} | {kept['violations']:,} "
                f"| {kept['commit']} |"
            )
    examples = [example for kept in results.values() for example in kept["examples"]]
    if examples:
        lines += ["", "## Violations", "", *(f"- {example.splitlines()[0]}" for example in examples)]
    return "\n".join(lines) + "\n"


def _read(folder: Path) -> dict[str, Any]:
    try:
        results: dict[str, Any] = json.loads((folder / "faults.json").read_text())
    except (OSError, ValueError):
        return {}
    return results


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.tmp")
    partial.write_text(text)
    partial.rename(path)
