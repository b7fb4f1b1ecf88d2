"""Reports of runs: every kind of ending, any content of their files, a million steps."""

import json
import shlex
import xml.etree.ElementTree as ElementTree
from array import array
from pathlib import Path
from typing import Any

import pytest
from builders import finished_run
from recordings import RUNS, valid_events
from report_pages import ParsedPage

from engines import events
from engines.reports.document import default_path, write_document
from engines.runs import liveness
from engines.runs.record import RunRecord, read_record
from engines.runs.store import Run
from nanochat_tui.cli import main

HOSTILE = """<script>alert("1")</script>&amp;'"></td></pre>]]>\x1b[2J\x00\x9b\ud800 http://example.org/x"""


def write_page(*records: RunRecord, folder: Path) -> tuple[str, ParsedPage, list[Path]]:
    """Write a report; return its text, the parsed page, and the files of its plots, which must be valid XML."""
    path, *plots = write_document(records, folder / "report.html")
    for plot in plots:
        if plot.suffix == ".svg":
            assert ElementTree.parse(plot).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    text = path.read_text()
    return text, ParsedPage(text), plots


FACTS = {"parameters": 7, "vocab_size": 3, "train_tokens": 100, "val_tokens": 10}
SETTINGS = {"mode": "fast", "model_kind": "gpt", "data": "corpus.txt", "steps": 3}


def make_record(folder: Path, given: dict[str, Any], *log: dict[str, Any]) -> RunRecord:
    """Read a run with these settings and events."""
    run = Run(folder / "results" / "runs" / "odd-one")
    run.path.mkdir(parents=True)
    config = {"run": "odd-one", "created_at": 0, "checkpoints": str(run.path / "checkpoints"), "facts": FACTS}
    run.config_path.write_text(json.dumps({"v": 1, **config, "given": given, "resolved": SETTINGS | given}))
    run.events_path.write_bytes(b"".join(events.encode({"v": 1, "t": 1.0, **event}) for event in log))
    return read_record(run)


def steps(losses: list[float], first: int = 1) -> dict[str, Any]:
    count = len(losses)
    names = {"losses": losses, "lr": [0.1] * count, "seconds": [0.5] * count, "grad_norms": [1.0] * count}
    return {"kind": "steps", "first_step": first, "tokens": 8 * (first + count - 1), **names}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.id)
def test_a_run_with_any_ending_has_a_complete_report(run: Run, tmp_path: Path) -> None:
    record = read_record(run)
    text, page, plots = write_page(record, folder=tmp_path)
    trained, evals, samples = valid_events(run)
    summary = dict(page.tables["Summary"])
    assert summary["state"] == record.state and summary["steps"] == f"{len(trained):,}"
    assert page.pictures == len([path for path in plots if path.suffix == ".svg"]) >= 1
    rows = page.tables.get("Evaluations", [])[1:]
    assert [row[0] for row in rows] == [f"{event['step']:,}" for event in evals][-40:]
    assert not samples or samples[-1]["text"].split("\n")[0] in page.words
    assert f"reproduce {run.id}" in page.words
    assert "/lab/" not in text
    assert all(f"resumed from step {step:,}" in page.words for step in record.history.rewinds)


def test_a_report_shows_the_reason_for_the_ending(tmp_path: Path) -> None:
    halted = next(run for run in RUNS if run.id == "halted-nonfinite")
    _, page, _ = write_page(read_record(halted), folder=tmp_path)
    ending = liveness.find_ending(halted, read_record(halted).history)
    assert ending and ending["detail"] in page.words and "nonfinite" in page.words


def test_text_with_any_characters_is_escaped(tmp_path: Path) -> None:
    sample = {"kind": "sample", "step": 1, "text": HOSTILE, "prompt": HOSTILE}
    ended = {"kind": "ended", "reason": "failed", "detail": HOSTILE, "traceback": HOSTILE, "exit_code": 1, "step": 1}
    given = {"model_kind": "bigram", "data": HOSTILE, HOSTILE: HOSTILE}
    record = make_record(tmp_path, given, steps([3.0]), sample, ended)
    text, page, _ = write_page(record, record, folder=tmp_path)  # two parts and a comparison
    assert "script" not in page.tags and "<script>" not in text and "\x1b" not in text and "\x9b" not in text
    escaped = """<script>alert("1")</script>&amp;'"></td></pre>]]>␛[2J␀"""
    count = page.words.count(escaped)  # per part: corpus twice, setting and value, prompt, text, detail, traceback
    assert count >= 2 * 8


def test_a_run_id_with_any_characters_is_escaped(tmp_path: Path) -> None:
    record = make_record(tmp_path, {}, steps([3.0, 2.0]))
    odd = Run(record.run.path.rename(record.run.path.with_name("<b>&\"'")))
    text, page, plots = write_page(read_record(odd), folder=tmp_path)
    assert "<b>&\"'" in page.words and "b" not in page.tags and "reproduce '<b>&" in page.words
    assert len(plots) > 1 and "<b>" not in text


ODD = {"commit": [1], "count": {}, "name": None}


@pytest.mark.parametrize("parts", [{}, {"code": ODD, "hardware": ODD, "given": ODD, "facts": FACTS | ODD}])
def test_a_manifest_with_values_of_any_type_has_a_report(parts: dict[str, Any], tmp_path: Path) -> None:
    record = make_record(tmp_path, {}, steps([3.0]))
    record.run.write_config(record.run.config | parts)
    _, page, _ = write_page(read_record(record.run), folder=tmp_path)
    assert dict(page.tables["Summary"])["final loss"] == "3.0000"


def test_the_plot_of_a_run_without_a_step_shows_no_data(tmp_path: Path) -> None:
    _, page, _ = write_page(make_record(tmp_path, {}), folder=tmp_path)
    assert "no data" in page.words and dict(page.tables["Summary"])["final loss"] == "–"


def test_the_report_of_a_million_steps_is_small_and_shows_every_spike(tmp_path: Path) -> None:
    record = make_record(tmp_path, {})
    losses = array("d", [2.0 + 1 / (step + 1) for step in range(1_000_000)])
    losses[700_000], losses[800_000] = 2.9, float("nan")
    history = record.history
    history.losses, history.tokens = losses, 8_000_000
    history.lr = history.seconds = history.grad_norms = array("d", [0.5]) * len(losses)
    text, page, _ = write_page(record, folder=tmp_path)
    assert len(text) < 200_000
    assert dict(page.tables["Summary"])["steps"] == "1,000,000"
    assert "loss not finite at step 800,001" in page.words


def test_a_report_contains_no_private_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = finished_run(tmp_path, checkpoint_dir=str(tmp_path / "kept"))
    sha256 = run.config["facts"]["sha256"]
    text, page, _ = write_page(read_record(run), folder=tmp_path)
    assert str(tmp_path) not in text and f"text.txt (sha256 {sha256[:12]})" in page.words
    assert "train --data text.txt --steps 20" in page.words
    assert f"# text.txt has the sha256 {sha256}" in page.words


def test_the_printed_train_command_reproduces_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(tmp_path, prompt="the fox", steps=5)
    _, page, _ = write_page(read_record(run), folder=tmp_path)
    command = next(line for line in page.words.splitlines() if line.startswith("nanochat-tui --no-ui train"))
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(command)[1:], "--results-dir", "again"]) == 0
    again = next(Path("again/runs").iterdir())
    assert json.loads((again / "config.json").read_text())["resolved"] == run.config["resolved"]


def test_runs_with_the_same_id_have_separate_plot_files(tmp_path: Path) -> None:
    one, other = (make_record(tmp_path / name, {}, steps([loss])) for name, loss in (("a", 1.0), ("b", 2.0)))
    _, page, plots = write_page(one, other, folder=tmp_path)
    assert len(set(plots)) == len(plots) and page.pictures == len([path for path in plots if path.suffix == ".svg"])


def test_the_default_path_is_in_the_results_directory(tmp_path: Path) -> None:
    record = make_record(tmp_path, {}, steps([1.0]))
    assert default_path(tmp_path / "results", record) == tmp_path / "results" / "reports" / "odd-one.html"
