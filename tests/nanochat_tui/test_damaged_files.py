"""Damaged files and unusual names of runs: one sentence each, and everything else is still shown."""

import os
from pathlib import Path

import pytest
from builders import finished_run, make_run

from engines.runs.launch import launch
from nanochat_tui.cli import main

Words = pytest.CaptureFixture[str]


def test_runs_names_a_damaged_manifest_and_lists_the_others(tmp_path: Path, capsys: Words) -> None:
    broken, whole = make_run(tmp_path), make_run(tmp_path)
    broken.config_path.write_bytes(b"[" * 100_000)
    assert main(["--no-ui", "runs", "--results-dir", str(tmp_path / "results")]) == 0
    output = capsys.readouterr()
    assert (
        whole.id in output.out
        and f"run {broken.id} cannot be read: config.json in {broken.path} is damaged" in output.err
    )


@pytest.mark.parametrize("summary", ["{", "null", '{"steps":20,"steps_per_second":"x"}', "[" * 100_000])
def test_a_damaged_summary_is_reported(tmp_path: Path, capsys: Words, summary: str) -> None:
    run = finished_run(tmp_path)
    run.summary_path.write_text(summary)
    assert main(["--no-ui", "attach", str(run.path)]) == 1
    assert "summary.json is damaged" in capsys.readouterr().err


def test_a_path_that_is_not_utf8_is_printed(tmp_path: Path, capsys: Words) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    run = make_run(folder)
    assert main(["--no-ui", "show", str(run.path)]) == 0
    assert "caf\ufffd" in capsys.readouterr().out


def test_an_edited_path_is_reported_and_used(tmp_path: Path, capsys: Words) -> None:
    run = finished_run(tmp_path)
    text = Path(run.config["resolved"]["data"])
    moved = text.rename(text.with_name("moved.txt"))
    run.config_path.write_text(run.config_path.read_text().replace(str(text), str(moved)))
    for command in (["show", run.id], ["runs"], ["runs", "--json"], ["compare", run.id, run.id]):
        assert main(["--no-ui", *command, "--results-dir", str(tmp_path / "results")]) == 0
        assert "a path in its config.json was edited" in capsys.readouterr().err
    assert launch(run).wait() == 0
