"""Generated command lines in this process: a documented exit code and at least one sentence, for any words."""

import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builders import write_text
from hypothesis import strategies as st

from engines.runs import launch
from engines.settings.fields import Field, fields
from engines.training.create_run import create_run
from faults.campaign import Part, Tally
from faults.damage import _rename
from faults.generated import generated
from faults.kills import _LONGEST
from faults.sandbox import Call, call
from nanochat_tui.commands import COMMANDS

LINES_OF_A_UNIT = 500
CODES = {0, 1, 2, 3, 4, 5, 130, 141, 143}
# `bench` measures for minutes and `doctor` trains: both are left out, but for their --help.
NAMES = tuple(name for name in COMMANDS if name not in ("bench", "doctor"))
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

EXTREMES = (
    "0", "-1", "1", "2", "-0", "1e308", "-1e308", "1e-308", "1e400", "nan", "inf", "-inf", "9" * 400, str(2**31),
    str(2**63), str(2**64), "1e18", "1e6", "0x10", "1_000", "٣", "²", "१२", "", " ", "\t", "\n", "a\nb", "\x1b[31m",
    "\x85", "\u202e", "é", "😀", "a" * 5000, "none", "None", "auto", "true", "false", "yes", "1k", "1G", "1e9G", "5m",
    "1h1h", "s", "--", "-", "=", "..", ".", "text.txt", "missing.txt", "results", "~", "~nosuchuser", "*", "**/*", "[",
    "a/b", "NUL\0", "last", "best", "run", "ru", "study-1", "scalar", "tensor", "gpt", "mini-gpt", "bigram", "cpu",
    "cuda", "char", "bpe", "S", "L", "SSSL", "names", "stories", "lr=0.1", "lr=", "lr=0.1,0.2", "seed=1,2",
    "steps=1e400", "depth=1,2",
)  # fmt: skip
USUAL = {
    "int": ("1", "2", "4", "8", "16"),
    "float": ("0.1", "0.5", "0.9", "1"),
    "bool": ("true", "false"),
    "str": ("text.txt", "a"),
    "size": ("1000", "1k"),
    "duration": ("2s", "1m"),
}  # of each kind of setting
_mostly = st.integers(0, 9)


def words_of(field: Field) -> st.SearchStrategy[str]:
    """Return a strategy for values of one setting: usual ones, extremes, and any text."""
    usual = st.sampled_from(field.choices or USUAL[field.kind])
    return st.one_of(
        usual, usual, usual, usual, st.sampled_from(EXTREMES), st.sampled_from(EXTREMES), st.text(max_size=12)
    )


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Return a strategy for command lines: arguments mostly of the right kind, sometimes of a wrong one."""
    name = draw(st.sampled_from(NAMES))
    command = COMMANDS[name]
    words = [name]
    for argument in command.arguments:
        words += draw(_argument(argument.name, argument.keywords))
    known = [field for settings_type in command.settings for field in fields(settings_type).values()]
    for field in draw(st.lists(st.sampled_from(known), max_size=4)) if known else ():
        value = draw(words_of(field))
        words += [field.flag, value] if draw(_mostly) else [f"{field.flag}={value}"]
    if not draw(_mostly):
        place = draw(st.integers(0, len(words)))
        words.insert(place, draw(st.sampled_from(["--json", "--help", "--", "-x", "--nonsense", "😀", "", "--steps"])))
    if draw(_mostly) < 3:
        words.append("--json")
    return [word for word in words if _stays_inside(word)]


def _argument(name: str, how: dict[str, Any]) -> st.SearchStrategy[list[str]]:
    choices = how.get("choices")
    usual = st.sampled_from(
        [str(choice) for choice in choices] if choices else ["run", "last", "study-1", "1", "text.txt"]
    )
    value = st.one_of(usual, usual, usual, st.sampled_from(EXTREMES), st.text(max_size=8))
    if not name.startswith("-"):
        run = value if choices else st.one_of(st.just("run"), value)
        return st.lists(run, min_size=1, max_size=2 if how.get("nargs") == "+" else 1)
    if how.get("action") == "store_true":
        return st.sampled_from([[], [], [], [name], [f"{name}=x"]])
    return st.one_of(st.just([]), st.just([]), st.just([]), value.map(lambda one: [name, one]), st.just([name]))


def _stays_inside(word: str) -> bool:
    """Return whether no word is an absolute path: the sandbox would stop the campaign."""
    return not any(part.startswith(("/", "~root")) for part in re.split("[=,:]", word))


@contextmanager
def without_processes() -> Iterator[None]:
    """Make every start of a process fail, as without memory for one: only command lines are tried here."""

    class Refused(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **named: Any) -> None:
            self.returncode = 1  # what its finalizer asks for
            raise BlockingIOError(11, "Resource temporarily unavailable")

    original, subprocess.Popen = subprocess.Popen, Refused  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = original  # type: ignore[misc]


def prepare(folder: Path) -> Path:
    """Make a working directory with a text and a finished run, once; return it."""
    place = folder / "lines"
    if not place.exists():
        place.mkdir()
        quick = {"steps": 10, "batch_size": 2, "context_length": 4, "eval_every": 5, "sample_tokens": 4}
        run = create_run({"data": str(write_text(place)), **quick}, place / "results")
        launch.launch(run).wait(_LONGEST)
        _rename(run, "run")
        shutil.copytree(place, folder / "lines-template")
    return place


def check_call(words: list[str], done: Call) -> list[str]:
    """Return a description of a wrong ending of a command line; empty if it is right."""
    line = repr(" ".join(words))[:300]
    if done.failure:
        return [f"{line} raised {done.failure.strip().splitlines()[-1]}"]
    if done.code not in CODES:
        return [f"{line} ended with {done.code}"]
    if done.code and not done.stderr.strip():
        return [f"{line} ended with {done.code} without a sentence"]
    output = done.stderr + ("" if words[:1] == ["sample"] else done.stdout)
    if "Traceback (most recent call last)" in output:
        return [f"{line} printed a traceback"]
    if found := _CONTROL.search(output.replace("\r\n", "\n")):
        return [f"{line} printed the control character {found[0]!r}"]
    return []


def one_unit(chance: random.Random, index: int, folder: Path) -> Tally:
    """Try some generated lines; the run that they may delete is restored for the next unit."""
    place = prepare(folder)
    lines = generated(chance, command_lines(), LINES_OF_A_UNIT)
    os.chdir(place)
    try:
        with without_processes():
            violations = [problem for words in lines for problem in check_call(words, call("--no-ui", *words))]
    finally:
        os.chdir(folder / "work")
        shutil.rmtree(place)
        shutil.copytree(folder / "lines-template", place, symlinks=True)
    return Tally(len(lines), violations)


PART = Part("any command line ends with a documented exit code and a sentence", 50_000, one_unit)
