"""export: the directory on stdout, everything else on stderr."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import QUICK, make_run, write_text
from recordings import RUNS, valid_events
from watched_stream import WatchedStream

from engines.interop.export import WRITERS
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.record import RunRecord
from engines.runs.store import Run
from engines.training.create_run import create_run
from nanochat_tui.cli import main

RESUMED = next(run for run in RUNS if run.id == "resumed")


def test_it_prints_the_directory_and_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(Path(shutil.copytree(RESUMED.path, tmp_path / "runs" / "resumed")))
    with open(run.events_path, "ab") as log:
        log.write(b"damage\n")
    assert main(["--no-ui", "export", str(run.path), "--results-dir", str(tmp_path)]) == 0
    output = capsys.readouterr()
    assert output.out == f"{tmp_path / 'exports' / 'resumed' / 'csv'}\n"
    assert output.err == "not exported from run resumed: 1 line of events.jsonl could not be read.\n"


def test_json_names_the_directory_and_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(RESUMED.path), "--format", "jsonl", "--out", str(tmp_path / "out")]
    assert main(["--no-ui", "--json", *words]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["export"] == str(tmp_path / "out") and output["run"] == "resumed" and output["steps"] == 600
    assert sorted(output["files"]) == sorted(str(path) for path in (tmp_path / "out").iterdir())
    assert output["state"] == "finished" and output["format"] == "jsonl"


def test_a_long_export_shows_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = WatchedStream()
    monkeypatch.setattr("sys.stderr", stderr)

    def write_slowly(record: RunRecord, folder: Path, report_step: Callable[[int], None]) -> None:
        stderr.wait_for("exporting run resumed ... 1 s")
        report_step(500)
        stderr.wait_for("exporting run resumed ... step 500 of 600 2 s")

    monkeypatch.setitem(WRITERS, "csv", write_slowly)
    assert main(["--no-ui", "export", str(RESUMED.path), "--out", str(tmp_path / "out")]) == 0


def test_an_existing_export_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--no-ui", "export", str(RESUMED.path), "--out", str(tmp_path / "out")]
    assert [main(words), main(words)] == [0, 1]
    assert (
        f"export failed: export {tmp_path / 'out'} cannot be written: the folder is not empty"
        in capsys.readouterr().err
    )


def test_a_run_without_a_step_is_exported_with_its_header(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert main(["--no-ui", "export", str(run.path), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "steps.csv").read_text().startswith("step,t,loss,lr,grad_norm,tokens,seconds,")


def test_a_running_run_is_exported_up_to_its_current_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"data": str(write_text(tmp_path)), **QUICK, "steps": 10_000_000, "eval_every": 0}
    run = create_run(given, tmp_path / "results")
    worker = launch(run)
    while not read_history(run).step:
        assert worker.poll() is None
    try:
        main(["--no-ui", "--json", "export", str(run.path), "--out", str(tmp_path / "out")])
    finally:
        worker.kill()
        worker.wait()
    output = capsys.readouterr()
    steps = json.loads(output.out)["steps"]
    assert f"run {run.id} is running; the export ends at step {steps}" in output.err
    with open(tmp_path / "out" / "steps.csv", newline="") as file:
        found = [float(row["loss"]) for row in csv.DictReader(file)]
    assert 0 < len(found) == steps
    assert found == [step["loss"] for step in valid_events(run)[0]][:steps]
