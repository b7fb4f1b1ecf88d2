"""Damaged files of runs, studies and the cache: figures are right, or the damage is reported."""

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builders import write_text

from engines.ablation.study import start_queue
from engines.runs import launch
from engines.runs.history import read_history
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.training.create_run import create_run
from faults.campaign import Part, Tally
from faults.kills import _LONGEST, _new_study
from faults.sandbox import Call, call

_SETTINGS = {"steps": 40, "batch_size": 2, "context_length": 4, "eval_every": 10, "sample_tokens": 8, "seed": 3}
# What reads a run, a study: words of the command line.
_RUN_COMMANDS = (
    ("show", "RUN", "--json"),
    ("show", "RUN"),
    ("runs", "--json"),
    ("export", "RUN", "--format", "csv", "--out", "exported"),
    ("sample", "RUN", "--top-k", "1", "--max-new-tokens", "20", "--json"),
    ("report", "RUN", "--out", "report.html"),
    ("compare", "RUN", "twin"),
)
_STUDY_COMMANDS = (("studies", "--json"), ("report", "study-1", "--out", "report.html"))
# Text that differs between two calls on the very same files.
_VOLATILE = re.compile(r"\d+(\.\d+)? (s|min|h|d|days?|hours?|minutes?|seconds?) ago|\b\d\d:\d\d\b")


def one_unit(chance: random.Random, index: int, folder: Path) -> Tally:
    """Damage one file in one way, and read it with every command, or train with it."""
    kind = ("run", "run", "resume", "cache", "run", "study", "run", "resume", "run", "run", "study", "run")[index % 12]
    return {"run": _damage_run, "resume": _damage_before_resume, "cache": _damage_cache, "study": _damage_study}[kind](
        chance, folder
    )


PART = Part("a damaged file of a run, a study or the cache is reported or harmless: no wrong figure", 2_000, one_unit)


# --- ways of damaging -----------------------------------------------------------------------------


def _flip(path: Path, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    position, bit = chance.randrange(len(content)), chance.randrange(8)
    content[position] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {position} flipped"


def _truncate(path: Path, chance: random.Random) -> str:
    size = chance.randrange(path.stat().st_size)
    path.write_bytes(path.read_bytes()[:size])
    return f"truncated to {size} bytes"


def _empty(path: Path, chance: random.Random) -> str:
    path.write_bytes(b"")
    return "emptied"


def _replace_by_a_directory(path: Path, chance: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "replaced by a directory"


def _replace_by_a_fifo(path: Path, chance: random.Random) -> str:
    path.unlink()
    os.mkfifo(path)
    return "replaced by a FIFO"


def _delete(path: Path, chance: random.Random) -> str:
    path.unlink()
    return "deleted"


def _change_a_digit(path: Path, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    digits = [position for position, byte in enumerate(content) if 0x30 <= byte <= 0x39]
    if not digits:
        return _flip(path, chance)
    position = chance.choice(digits)
    content[position] = 0x30 + (content[position] - 0x30 + chance.randrange(1, 10)) % 10
    path.write_bytes(content)
    return f"a digit at byte {position} changed"


WAYS: tuple[Callable[[Path, random.Random], str], ...] = (
    _flip, _flip, _flip, _change_a_digit, _change_a_digit, _truncate, _empty, _replace_by_a_directory,
    _replace_by_a_fifo, _delete,
)  # fmt: skip


def damage(path: Path, chance: random.Random) -> str:
    """Damage a file in a random way, and return a description of the damage."""
    way = chance.choice(WAYS)
    return _delete(path, chance) if path.stat().st_size == 0 else way(path, chance)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


# --- runs and studies -----------------------------------------------------------------------------


def _template(folder: Path) -> Path:
    """Return the results of a finished run, an identical one and a study, created once."""
    place = folder / "template"
    if not place.exists():
        place.mkdir()
        for name in ("run", "twin"):
            run = create_run({"data": str(write_text(place)), **_SETTINGS}, place / "results")
            launch.launch(run).wait(_LONGEST)
            _rename(run, name)
        start_queue(_new_study(place)).wait(_LONGEST)
    return place / "results"


def _rename(run: Run, name: str) -> None:
    """Give a run a fixed name, as if it had been drawn."""
    target = run.path.with_name(name)
    run.path.rename(target)


def _fresh(folder: Path) -> Path:
    """Copy the template to a fixed folder, so that paths in outputs are always the same."""
    place = folder / "results"
    template = _template(folder)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place, symlinks=True)
    return place


def _calls(commands: tuple[tuple[str, ...], ...], run: str, results: Path) -> list[Call]:
    """Run each command; its exports count as output."""
    found = []
    for words in commands:
        filled = [run if word == "RUN" else word for word in words]
        done = call("--no-ui", *filled, "--results-dir", str(results))
        exported = Path("exported")
        files = [path.read_text() for path in sorted(exported.glob("*"))] if exported.is_dir() else []
        shutil.rmtree(exported, ignore_errors=True)
        found.append(done._replace(stdout="".join([done.stdout, *files])))
    return found


_pristine: dict[str, list[Call]] = {}


def _damage_run(chance: random.Random, folder: Path) -> Tally:
    results = _fresh(folder)
    if str(folder) not in _pristine:
        _pristine[str(folder)] = _calls(_RUN_COMMANDS, "run", results)
        results = _fresh(folder)
    path = chance.choice(_files(results / "runs" / "run"))
    done = f"{path.relative_to(results)}: {damage(path, chance)}"
    calls = _calls(_RUN_COMMANDS, "run", results)
    return Tally(1, _check_calls(done, _RUN_COMMANDS, calls, _pristine[str(folder)]))


def _damage_study(chance: random.Random, folder: Path) -> Tally:
    key = f"study {folder}"
    results = _fresh(folder)
    if key not in _pristine:
        _pristine[key] = _calls(_STUDY_COMMANDS, "", results)
        results = _fresh(folder)
    path = chance.choice(_files(results / "studies"))
    done = f"{path.relative_to(results)}: {damage(path, chance)}"
    calls = _calls(_STUDY_COMMANDS, "", results)
    return Tally(1, _check_calls(done, _STUDY_COMMANDS, calls, _pristine[key]))


def _check_calls(
    done: str, commands: tuple[tuple[str, ...], ...], calls: list[Call], pristine: list[Call]
) -> list[str]:
    """Return violations: commands whose output differs from that of undamaged files without a report of damage."""
    found = []
    for words, after, before in zip(commands, calls, pristine, strict=True):
        if after.failure:
            found.append(f"{done}: {' '.join(words)} raised {after.failure.strip().splitlines()[-1]}")
        elif "Traceback" in after.stderr:
            found.append(f"{done}: {' '.join(words)} printed a traceback")
        elif after.code not in (0, 1, 2, 3, 4, 5):
            found.append(f"{done}: {' '.join(words)} ended with {after.code}")
        elif _stable(after.stdout) != _stable(before.stdout) and _notices(after) == _notices(before):
            found.append(f"{done}: {' '.join(words)} printed other figures without a notice")
    return found


def _notices(one: Call) -> tuple[int | None, str]:
    """Return what reports a problem to the user: the exit code, stderr, and words of damage in the output.

    A log that ends early is one of a killed process, and its run or study is shown as killed.
    """
    words = re.findall(
        r"(?i)damaged|unreadable|could not be read|cannot be read|not found|missing|problem|lost|killed", one.stdout
    )
    return one.code, _stable(one.stderr) + " ".join(sorted(words))


def _stable(text: str) -> str:
    return _VOLATILE.sub("", text)


# --- training with damage -------------------------------------------------------------------------


def _history(run: Run) -> Any:
    history = read_history(run)
    evals = [{name: event[name] for name in ("step", "loss", "bpb")} for event in history.evals]
    return list(history.losses), evals


def _stopped(folder: Path) -> Path:
    """Return the results of a run that was killed half-way, created once."""
    place = folder / "stopped"
    if not place.exists():
        place.mkdir()
        run = create_run({"data": str(write_text(place)), **_SETTINGS}, place / "results")
        launch.launch(run, "killed_worker", {"KILL_AT": "evaluation:8"}).wait(_LONGEST)
        _rename(run, "run")
        reference = create_run({"data": str(place / "text.txt"), **_SETTINGS}, place / "reference")
        launch.launch(reference).wait(_LONGEST)
        _rename(reference, "run")
    return place


def _damage_before_resume(chance: random.Random, folder: Path) -> Tally:
    """Damage a killed run, then resume it: it ends exactly, or reports why it does not."""
    template = _stopped(folder)
    results = folder / "resumed"
    shutil.rmtree(results, ignore_errors=True)
    shutil.copytree(template / "results", results)
    run = Run(results / "runs" / "run")
    path = chance.choice(_files(run.path))
    done = f"{path.relative_to(results)}: {damage(path, chance)}"
    after = call("--no-ui", "resume", "run", "--results-dir", str(results))
    if after.failure or "Traceback" in after.stderr:
        return Tally(1, [f"{done}: resume raised {(after.failure or after.stderr).strip().splitlines()[-1]}"])
    if after.code != 0:
        return Tally(1, [] if after.stderr.strip() else [f"{done}: resume failed without a sentence"])
    ours, theirs = _history(run), _history(Run(template / "reference" / "runs" / "run"))
    if ours == theirs:
        return Tally(1, [])
    shown = call("--no-ui", "show", "run", "--results-dir", str(results))
    text = after.stderr + shown.stdout + shown.stderr
    is_reported = re.search(r"(?i)damaged|could not be read|cannot be read|not found|missing|lost", text)
    wrong = [a for a, b in zip(ours[0], theirs[0], strict=False) if a == a and a != b]  # NaN: known to be lost
    if wrong or not is_reported:
        return Tally(1, [f"{done}: resume ended with other losses{'' if is_reported else ', and reported nothing'}"])
    return Tally(1, [])


def _cached(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return a text that is long enough for the cache, the settings to train on it, and the losses without a cache."""
    place = folder / "cached"
    text = place / "long.txt"
    settings = {**_SETTINGS, "data": str(text), "tokenizer": "bpe", "vocab_size": 300, "eval_tokens": 500}
    if not place.exists():
        place.mkdir()
        words = random.Random(5)
        text.write_text(" ".join("".join(words.choices("abcdefgh", k=words.randint(2, 6))) for _ in range(220_000)))
        launch.launch(create_run(settings, place / "reference")).wait(_LONGEST)
    return place, settings


def _damage_cache(chance: random.Random, folder: Path) -> Tally:
    """Damage the cache of prepared text, then train with it: the losses are those of a run without a cache."""
    place, settings = _cached(folder)
    cache = folder / "home" / ".cache" / "nanochat-tui"
    # Python's own bytecode is as exposed as any program file: what it computes is not verified.
    files = [path for path in _files(cache) if "bytecode" not in path.parts]
    if not files:
        return Tally(1, ["the cache is empty after a run"])
    path = chance.choice(files)
    done = f"cache {path.relative_to(cache)}: {damage(path, chance)}"
    run = create_run(settings, place / "results")
    code = launch.launch(run).wait(_LONGEST)
    ours, theirs = _history(run), _history(list_runs(place / "reference")[0])
    shutil.rmtree(place / "results", ignore_errors=True)
    if path.is_dir():
        path.rmdir()
    elif path.exists() and not path.is_file():
        path.unlink()
    if code != 0:
        return Tally(1, [f"{done}: the run ended with {code} instead of preparing the text again"])
    return Tally(1, [] if ours == theirs else [f"{done}: the run trained on other text"])
