"""Reports of runs: of every kind of ending, of anything in their files, of a million steps."""

import json
import shlex
import xml.etree.ElementTree as ElementTree
from array import array
from pathlib import Path
from typing import Any

import pytest
from builders import finished_run
from pages import Page
from recordings import RUNS, last_word

from engines import events
from engines.reports.document import usual_path, write_document
from engines.runs import liveness
from engines.runs.record import Record, read_record
from engines.runs.store import Run
from nanochat_tui.cli import main

HOSTILE = """<script>alert("1")</script>&amp;'"></td></pre>]]>\x1b[2J\x00\x9b\ud800 http://example.org/x"""


def page_of(*records: Record, folder: Path) -> tuple[str, Page, list[Path]]:
    """The text, read strictly, and the pictures beside it, each of which is XML."""
    path, *pictures = write_document(records, folder / "report.html")
    for picture in pictures:
        if picture.suffix == ".svg":
            assert ElementTree.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    text = path.read_text()
    return text, Page(text), pictures


FACTS = {"parameters": 7, "vocab_size": 3, "train_tokens": 100, "val_tokens": 10}
SETTINGS = {"mode": "fast", "model_kind": "gpt", "data": "corpus.txt", "steps": 3}


def record_of(folder: Path, given: dict[str, Any], *told: dict[str, Any]) -> Record:
    """Of a run whose files say this."""
    run = Run(folder / "results" / "runs" / "odd-one")
    run.path.mkdir(parents=True)
    config = {"run": "odd-one", "created_at": 0, "checkpoints": str(run.path / "checkpoints"), "facts": FACTS}
    run.config_path.write_text(json.dumps({"v": 1, **config, "given": given, "resolved": SETTINGS | given}))
    run.events_path.write_bytes(b"".join(events.encode({"v": 1, "t": 1.0, **event}) for event in told))
    return read_record(run)


def steps(losses: list[float], first: int = 1) -> dict[str, Any]:
    count = len(losses)
    names = {"losses": losses, "lr": [0.1] * count, "seconds": [0.5] * count, "grad_norms": [1.0] * count}
    return {"kind": "steps", "first_step": first, "tokens": 8 * (first + count - 1), **names}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.id)
def test_every_ending_gives_a_whole_page(run: Run, tmp_path: Path) -> None:
    record = read_record(run)
    text, page, pictures = page_of(record, folder=tmp_path)
    trained, evals, samples = last_word(run)
    brief = dict(page.tables["In brief"])
    assert brief["state"] == record.state and brief["steps"] == f"{len(trained):,}"
    assert page.pictures == len([path for path in pictures if path.suffix == ".svg"]) >= 1
    rows = page.tables.get("Evaluations", [])[1:]
    assert [row[0] for row in rows] == [f"{event['step']:,}" for event in evals][-40:]
    assert not samples or samples[-1]["text"].split("\n")[0] in page.words
    assert f"reproduce {run.id}" in page.words
    assert "/lab/" not in text
    assert all(f"went on from step {step:,}" in page.words for step in record.history.rewinds)


def test_the_state_of_a_recorded_ending_is_told_with_its_reason(tmp_path: Path) -> None:
    halted = next(run for run in RUNS if run.id == "halted-nonfinite")
    _, page, _ = page_of(read_record(halted), folder=tmp_path)
    ending = liveness.find_ending(halted, read_record(halted).history)
    assert ending and ending["detail"] in page.words and "nonfinite" in page.words


def test_text_of_any_kind_stays_text(tmp_path: Path) -> None:
    sample = {"kind": "sample", "step": 1, "text": HOSTILE, "prompt": HOSTILE}
    ended = {"kind": "ended", "reason": "failed", "detail": HOSTILE, "traceback": HOSTILE, "exit_code": 1, "step": 1}
    given = {"model_kind": "bigram", "data": HOSTILE, HOSTILE: HOSTILE}
    record = record_of(tmp_path, given, steps([3.0]), sample, ended)
    text, page, _ = page_of(record, record, folder=tmp_path)  # alone, and compared
    assert "script" not in page.tags and "<script>" not in text and "\x1b" not in text and "\x9b" not in text
    seen = """<script>alert("1")</script>&amp;'"></td></pre>]]>␛[2J␀"""
    told = page.words.count(seen)  # of each: corpus twice, setting with its value, prompt, text, ending, traceback
    assert told >= 2 * 8


def test_a_run_s_name_of_any_kind_stays_text(tmp_path: Path) -> None:
    record = record_of(tmp_path, {}, steps([3.0, 2.0]))
    odd = Run(record.run.path.rename(record.run.path.with_name("<b>&\"'")))
    text, page, pictures = page_of(read_record(odd), folder=tmp_path)
    assert "<b>&\"'" in page.words and "b" not in page.tags and "reproduce '<b>&" in page.words
    assert len(pictures) > 1 and "<b>" not in text


ODD = {"commit": [1], "count": {}, "name": None}


@pytest.mark.parametrize("parts", [{}, {"code": ODD, "hardware": ODD, "given": ODD, "facts": FACTS | ODD}])
def test_a_manifest_with_anything_in_its_parts_gives_a_page(parts: dict[str, Any], tmp_path: Path) -> None:
    record = record_of(tmp_path, {}, steps([3.0]))
    record.run.write_config(record.run.config | parts)
    _, page, _ = page_of(read_record(record.run), folder=tmp_path)
    assert dict(page.tables["In brief"])["last loss"] == "3.0000"


def test_a_run_without_a_step_says_that_nothing_was_recorded(tmp_path: Path) -> None:
    _, page, _ = page_of(record_of(tmp_path, {}), folder=tmp_path)
    assert "nothing was recorded" in page.words and dict(page.tables["In brief"])["last loss"] == "–"


def test_a_million_steps_are_a_small_page_without_a_lost_spike(tmp_path: Path) -> None:
    record = record_of(tmp_path, {})
    losses = array("d", [2.0 + 1 / (step + 1) for step in range(1_000_000)])
    losses[700_000], losses[800_000] = 2.9, float("nan")
    history = record.history
    history.losses, history.tokens = losses, 8_000_000
    history.lr = history.seconds = history.grad_norms = array("d", [0.5]) * len(losses)
    text, page, _ = page_of(record, folder=tmp_path)
    assert len(text) < 200_000
    assert dict(page.tables["In brief"])["steps"] == "1,000,000"
    assert "loss not finite at step 800,001" in page.words


def test_paths_are_handed_on_without_what_is_only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = finished_run(tmp_path, checkpoint_dir=str(tmp_path / "kept"))
    sha256 = run.config["facts"]["sha256"]
    text, page, _ = page_of(read_record(run), folder=tmp_path)
    assert str(tmp_path) not in text and f"text.txt (sha256 {sha256[:12]})" in page.words
    assert "train --data text.txt --steps 20" in page.words
    assert f"# text.txt has the sha256 {sha256}" in page.words


def test_what_reproduces_from_the_settings_is_the_command_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed command, typed where its text lies, asks for the same run."""
    run = finished_run(tmp_path, prompt="the fox", steps=5)
    _, page, _ = page_of(read_record(run), folder=tmp_path)
    command = next(line for line in page.words.splitlines() if line.startswith("nanochat-tui --no-ui train"))
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(command)[1:], "--results-dir", "again"]) == 0
    again = next(Path("again/runs").iterdir())
    assert json.loads((again / "config.json").read_text())["resolved"] == run.config["resolved"]


def test_two_runs_of_one_name_keep_their_pictures_apart(tmp_path: Path) -> None:
    one, other = (record_of(tmp_path / name, {}, steps([loss])) for name, loss in (("a", 1.0), ("b", 2.0)))
    _, page, pictures = page_of(one, other, folder=tmp_path)
    assert len(set(pictures)) == len(pictures) and page.pictures == len([p for p in pictures if p.suffix == ".svg"])


def test_a_report_s_usual_place_is_beside_the_runs(tmp_path: Path) -> None:
    record = record_of(tmp_path, {}, steps([1.0]))
    assert usual_path(tmp_path / "results", record) == tmp_path / "results" / "reports" / "odd-one.html"
