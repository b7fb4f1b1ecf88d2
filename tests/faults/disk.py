"""Full disks: every command that writes reports them in one sentence, and earlier records are kept.

Two kinds of full disk: a limit on the size of any file that a process may write (`ulimit -f`), which reaches every
write path, and a small tmpfs, where mounting is allowed, which is full for everything at once.
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from builders import TEXT, write_text

from engines.runs import launch
from engines.runs.history import read_history
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.training.create_run import create_run
from faults.campaign import Part, Tally
from faults.damage import _rename
from faults.kills import _LONGEST, _new_study

_SETTINGS = {"steps": 60, "batch_size": 2, "context_length": 4, "eval_every": 10, "sample_tokens": 8, "seed": 3}
_CODES = (0, 1, 2, 3, 5)
# What writes: words of the command line.
COMMANDS = (
    ("train", "--data", "text.txt", "--steps", "60", "--batch-size", "2", "--eval-every", "10"),
    ("train", "--data", "text.txt", "--model-kind", "mini-gpt", "--steps", "20", "--eval-every", "5"),
    ("resume", "killed"),
    ("resume", "finished", "--steps", "90"),
    ("reproduce", "finished"),
    ("report", "finished"),
    ("report", "study-1"),
    ("compare", "finished", "killed", "--html", "comparison.html"),
    ("export", "finished", "--format", "jsonl"),
    ("ablate", "--data", "text.txt", "--axis", "lr=0.01", "--seeds", "1", "--steps", "20", "--batch-size", "2"),
)


def one_unit(chance: random.Random, index: int, folder: Path) -> Tally:
    """Run one writing command on a disk that becomes full at some point."""
    words = COMMANDS[index % len(COMMANDS)]
    fill = _by_file_size if index // len(COMMANDS) % 2 == 0 or not _can_mount(folder) else _by_tmpfs
    return fill(words, chance, folder)


PART = Part("a full disk is reported in one sentence, and what was recorded before stays", 400, one_unit)


def _by_file_size(words: tuple[str, ...], chance: random.Random, folder: Path) -> Tally:
    """Limit the size of files to about that of the command's output."""
    place = folder / "limited"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(_template(folder), place, symlinks=True)
    blocks = chance.choice((0, 1, 2, 4, 8, 16, 24, 32, 48, 64))  # of 512 bytes
    return _try(words, place, f"ulimit -f {blocks}; ", f"files of at most {512 * blocks} bytes")


def _by_tmpfs(words: tuple[str, ...], chance: random.Random, folder: Path) -> Tally:
    """Put the results folder on a tmpfs with little free space."""
    place = folder / "mounted"
    place.mkdir(exist_ok=True)
    template = _template(folder)
    used = sum(path.stat().st_size + 4096 for path in template.rglob("*"))
    free = chance.choice((0, 4, 8, 16, 32, 64, 128)) << 10
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used + free}", "tmpfs", str(place)], check=True)
    try:
        shutil.copytree(template, place, symlinks=True, dirs_exist_ok=True)
        return _try(words, place, "", f"{free >> 10} KiB free")
    except OSError:  # the copy itself did not fit
        return Tally(0, [])
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _can_mount(folder: Path) -> bool:
    place = folder / "probe"
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        return False
    return subprocess.run(["umount", str(place)]).returncode == 0


def _try(words: tuple[str, ...], place: Path, limit: str, circumstance: str) -> Tally:
    before = _records(place)
    shell = f'{limit}exec "$0" -m nanochat_tui --no-ui "$@" --results-dir results'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, *words], cwd=place, capture_output=True, text=True, timeout=_LONGEST
    )
    name = f"{' '.join(words[:2])} with {circumstance}"
    found = []
    if "Traceback" in done.stderr or "WriteOutsideFolder" in done.stderr:
        found.append(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    elif done.returncode not in _CODES:
        found.append(f"{name}: exit code {done.returncode}")
    elif done.returncode != 0 and not done.stderr.strip():
        found.append(f"{name}: failed without a sentence")
    found += [f"{name}: {run.id} ended with a traceback in its events" for run in _crashed(place)]
    for run, losses in before.items():
        if list(read_history(Run(place / "results" / "runs" / run)).losses[: len(losses)]) != losses:
            found.append(f"{name}: recorded losses of {run} are gone")
    return Tally(1, found)


def _records(place: Path) -> dict[str, list[float]]:
    return {run.id: list(read_history(run).losses) for run in list_runs(place / "results")}


def _crashed(place: Path) -> list[Run]:
    return [run for run in list_runs(place / "results") if (read_history(run).ended or {}).get("traceback")]


def _template(folder: Path) -> Path:
    """Return the results of a finished run, a killed one and a study, created once."""
    place = folder / "template"
    if place.exists():
        return place
    place.mkdir()
    make: dict[str, Callable[[Run], object]] = {
        "finished": lambda run: launch.launch(run).wait(_LONGEST),
        "killed": lambda run: launch.launch(run, "killed_worker", {"KILL_AT": "evaluation:8"}).wait(_LONGEST),
    }
    for name, act in make.items():
        run = create_run({"data": str(write_text(place, TEXT)), **_SETTINGS}, place / "results")
        act(run)
        _rename(run, name)
    from engines.ablation.study import start_queue

    start_queue(_new_study(place)).wait(_LONGEST)
    return place
