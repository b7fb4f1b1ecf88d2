"""Generated files: TOML and JSON configurations, manifests, control requests, corpora and prompts of any content."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builders import TEXT
from hypothesis import strategies as st

from engines.runs import launch, liveness
from engines.runs.history import read_history
from engines.runs.store import Run
from engines.settings.fields import fields
from engines.settings.train import TrainSettings
from engines.training.create_run import create_run
from faults.campaign import Part, Tally
from faults.command_lines import EXTREMES, check_call, prepare, without_processes
from faults.generated import generated
from faults.kills import _LONGEST
from faults.sandbox import call

CASES_OF_A_UNIT = 50
SETTINGS = sorted(fields(TrainSettings))
SUFFIXES = (
    ".txt", ".jsonl", ".JSONL", ".ndjson", ".json", ".parquet", ".gz", ".xz", ".zst", ".txt.gz", ".jsonl.xz", ".zip",
    ".bz2", ".md", "",
)  # fmt: skip
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(EXTREMES),
    st.sampled_from((2**64, -1, 1e308, float("nan"))),
)  # fmt: skip
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def one_unit(chance: random.Random, index: int, folder: Path) -> Tally:
    """Try some files of one kind."""
    kinds: tuple[Callable[[random.Random, Path], Tally], ...] = (configurations, manifests, corpora, prompts, requests)
    return kinds[index % len(kinds)](chance, folder)


PART = Part("any corpus, configuration, manifest, control file or prompt is used or reported", 3_000, one_unit)


def _try_each(cases: list[Any], place: Path, try_one: Callable[[Any], list[str]]) -> Tally:
    violations: list[str] = []
    os.chdir(place)
    try:
        with without_processes():
            for case in cases:
                violations += try_one(case)
    finally:
        os.chdir(place.parent / "work")
    return Tally(len(cases), violations)


# --- configurations and manifests -----------------------------------------------------------------


def configurations(chance: random.Random, folder: Path) -> Tally:
    """Try TOML and JSON for --config: well-formed with unusual values, or any bytes."""
    place = prepare(folder)
    tables = st.dictionaries(st.one_of(st.sampled_from(SETTINGS), st.text(max_size=6)), _values, max_size=4)
    contents = st.one_of(tables.map(_as_toml), tables.map(_as_json), st.binary(max_size=60), st.just(b"[" * 100_000))
    cases = generated(chance, st.tuples(contents, st.sampled_from((".toml", ".json", ""))), CASES_OF_A_UNIT)

    def try_one(case: tuple[bytes, str]) -> list[str]:
        Path(f"configuration{case[1]}").write_bytes(case[0])
        words = ["plan", "--config", f"configuration{case[1]}"]
        study = ["ablate", "--config", f"configuration{case[1]}"]
        found = [problem for line in (words, study) for problem in check_call(line, call("--no-ui", *line))]
        return [f"{problem}, with {case[0][:200]!r}" for problem in found]

    return _try_each(cases, place, try_one)


def _as_toml(table: dict[str, Any]) -> bytes:
    lines = [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in table.items()]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _as_json(table: dict[str, Any]) -> bytes:
    return json.dumps({"given": table}).encode("utf-8", "surrogatepass")


def manifests(chance: random.Random, folder: Path) -> Tally:
    """Try a run's config.json in which one value, or all of it, was replaced."""
    place = prepare(folder)
    config = json.loads((place / "results" / "runs" / "run" / "config.json").read_text())
    names = [(None, name) for name in config] + [
        (part, name) for part in ("given", "resolved", "facts", "hardware", "code") for name in config.get(part, {})
    ]
    cases = generated(chance, st.tuples(st.sampled_from(names), _values), CASES_OF_A_UNIT)
    commands = (
        ["show", "run"],
        ["runs"],
        ["report", "run"],
        ["sample", "run"],
        ["resume", "run"],
        ["reproduce", "run"],
    )

    def try_one(case: tuple[tuple[str | None, str], Any]) -> list[str]:
        (part, name), value = case
        changed = json.loads(json.dumps(config))
        (changed if part is None else changed[part])[name] = value
        path = Path("results/runs/run/config.json")
        path.write_text(json.dumps(changed))
        found = [problem for line in commands for problem in check_call(line, call("--no-ui", *line))]
        path.write_text(json.dumps(config))
        return [f"{problem}, with {part or ''}.{name} = {value!r:.100}" for problem in found]

    return _try_each(cases, place, try_one)


# --- text -----------------------------------------------------------------------------------------


def corpora(chance: random.Random, folder: Path) -> Tally:
    """Prepare files of every suffix with any content, as a worker would."""
    place = prepare(folder)
    documents = st.lists(st.one_of(st.text(max_size=40), _values), max_size=5)
    lines = documents.map(lambda found: "\n".join(json.dumps({"text": one}) for one in found).encode())
    texts = st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    odd = st.sampled_from(
        (b"", b"\xef\xbb\xbf", b"\xff\xfe" + "text".encode("utf-16-le"), b"PK\x03\x04", b"BZh9", b"\x1f\x8b")
    )
    contents = st.one_of(texts, lines, st.binary(max_size=100), odd, st.just(TEXT.encode()))
    cases = generated(chance, st.tuples(contents, st.sampled_from(SUFFIXES)), CASES_OF_A_UNIT)

    def try_one(case: tuple[bytes, str]) -> list[str]:
        path = Path(f"corpus{case[1]}")
        path.write_bytes(case[0])
        problem = _prepare(str(path))
        path.unlink()
        return [f"corpus{case[1]} {case[0][:100]!r}: {problem}"] if problem else []

    return _try_each(cases, place, try_one)


def _prepare(data: str) -> str:
    """Prepare a corpus in this process; return the exception unless it is a UserError."""
    from engines.data.prepare import prepare as prepare_text
    from engines.errors import UserError
    from engines.settings.resolve import resolve

    try:
        prepare_text(resolve({"data": data, "context_length": 4}), lambda *progress: None)
    except UserError:
        return ""
    except Exception as error:
        return repr(error)[:300]
    return ""


def prompts(chance: random.Random, folder: Path) -> Tally:
    """Try any text as a prompt, as a text to inspect, and as the prompt of training."""
    place = prepare(folder)
    texts = st.one_of(st.text(max_size=50), st.sampled_from(EXTREMES), st.text("theqick \n", max_size=50))
    cases = generated(chance, texts, CASES_OF_A_UNIT)

    def try_one(prompt: str) -> list[str]:
        prompt = prompt.replace("\0", "")  # no command line can hold one
        line = ["sample", "run", f"--prompt={prompt}", "--max-new-tokens", "4"]
        return check_call(line, call("--no-ui", *line)) + check_call(line, call("--no-ui", *line, "--json"))

    return _try_each(cases, place, try_one)


# --- control requests -------------------------------------------------------------------------------


def requests(chance: random.Random, folder: Path) -> Tally:
    """Put unusual files and folders into the control folder of a running run, which must finish."""
    place = folder / "controlled"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "text.txt").write_text(TEXT)
    given = {"data": str(place / "text.txt"), "steps": 3_000, "batch_size": 2, "eval_every": 1_000, "sample_tokens": 0}
    run = create_run(given, place / "results")
    names = st.one_of(
        st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=30),
        st.sampled_from(("²-stop.json", "٣-pause.json", f"{'9' * 300}-stop.json", f"{2**63}-stopp.json", "-stop.json")),
        st.sampled_from(("pause", "resume", "checkpoint", "evaluate", "x")).map(
            lambda verb: f"{time.time_ns()}-{verb}"
        ),
    )
    cases = generated(chance, st.tuples(names, st.binary(max_size=20), st.booleans()), 20)
    worker = launch.launch(run)
    for name, content, is_folder in cases:
        path = run.control_dir / name
        try:
            path.mkdir() if is_folder else path.write_bytes(content)
        except OSError:  # a name that this file system does not take
            continue
    if worker.wait(_LONGEST) != 0:
        return Tally(
            len(cases), [f"a run with odd control files ended as {liveness.derive_state(run, read_history(run))}"]
        )
    return Tally(len(cases), [] if _is_whole(run) else ["a run with odd control files lost steps"])


def _is_whole(run: Run) -> bool:
    history = read_history(run)
    return history.step == 3_000 and liveness.derive_state(run, history) == "finished"
