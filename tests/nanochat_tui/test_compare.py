"""compare: runs side by side, as text, as JSON and as a page."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from recordings import RUNS, valid_events
from report_pages import ParsedPage

from engines.runs.creation import create_run_directory
from engines.runs.store import Run
from nanochat_tui.cli import main

BY_ID = {run.id: run for run in RUNS}
Words = pytest.CaptureFixture[str]


def compared(capsys: Words, *runs: Run, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    assert main(["--no-ui", "--json", "compare", *(str(run.path) for run in runs), *flags]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_metrics_equal_those_in_the_files_of_the_runs(capsys: Words) -> None:
    for run, output in zip(RUNS, compared(capsys, *RUNS)["runs"], strict=True):
        steps, evals, _ = valid_events(run)
        config = json.loads(run.config_path.read_text())
        assert (output["run"], output["path"]) == (run.id, str(run.path))
        assert output["steps"] == len(steps) and output["steps_asked"] == config["resolved"]["steps"]
        assert output["parameters"] == config.get("facts", {}).get("parameters")
        losses = [step["loss"] for step in steps]
        assert _same(output["final_loss"], losses[-1] if losses else None)
        assert _same(output["mean_loss_last_50"], math.fsum(losses[-50:]) / len(losses[-50:]) if losses else None)
        assert _same(output["val_loss"], evals[-1]["loss"] if evals else None)
        assert _same(output["val_bpb"], evals[-1]["bpb"] if evals else None)
        best = min((one for one in evals if math.isfinite(one["loss"])), key=lambda one: one["loss"], default=None)
        assert (output["best_step"], output["best_bpb"]) == (best and best["step"], best and best["bpb"])
        assert _same(output["train_seconds"], math.fsum(step["seconds"] for step in steps))


def _same(actual: float | None, expected: float | None) -> bool:
    """Return whether the values are equal, where JSON has null for NaN and for missing values."""
    if expected is None or not math.isfinite(expected):
        return actual is None
    return actual is not None and math.isclose(actual, expected, rel_tol=1e-12)


def test_nonfinite_metrics_are_named(capsys: Words) -> None:
    output = compared(capsys, BY_ID["halted-nonfinite"], BY_ID["finished"])["runs"]
    assert "final_loss" in output[0]["nonfinite"] and not output[1].get("nonfinite")


def test_metrics_of_finished_runs_equal_their_summaries(capsys: Words) -> None:
    runs = [run for run in RUNS if run.id.startswith("finished")]
    for run, output in zip(runs, compared(capsys, *runs)["runs"], strict=True):
        summary = json.loads(run.summary_path.read_text())
        shared = {"final_loss", "val_loss", "val_bpb", "best_bpb", "best_step"} & summary.keys() & output.keys()
        assert len(shared) == 5
        assert {name: output[name] for name in shared} == {name: summary[name] for name in shared}


def test_differing_settings_are_those_of_the_manifests(capsys: Words) -> None:
    runs = BY_ID["finished"], BY_ID["finished-stories"]
    one, other = (json.loads(run.config_path.read_text())["resolved"] for run in runs)
    found = compared(capsys, *runs)
    output = {line["name"]: line["values"] for line in found["differences"] if line["group"] != "code"}
    assert output == {name: [one[name], other[name]] for name in one if one[name] != other[name]} and output
    assert found["settings"] >= len(one)


def test_the_table_has_one_column_per_run_and_marks_differences(capsys: Words) -> None:
    paths = [str(BY_ID[name].path) for name in ("finished", "finished-stories")]
    assert main(["--no-ui", "compare", *paths]) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0].split() == ["finished", "finished-stories"] and output.err == ""
    assert any(line.startswith("≠ data ") and line.split()[-1] == "stories" for line in lines)
    assert main(["--no-ui", "compare", paths[0], paths[0]]) == 0
    assert "differ in 0 of" in capsys.readouterr().out


def test_control_characters_in_values_are_shown_as_signs(tmp_path: Path, capsys: Words) -> None:
    resolved = {"mode": "scalar", "model_kind": "bigram", "data": "a\x1b[2J\nb\tc", "steps": 20}
    run = create_run_directory(tmp_path / "results", None, {"given": {}, "resolved": resolved})
    assert main(["--no-ui", "compare", str(run.path), str(BY_ID["finished"].path)]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output and "a␛[2J␊b␉c" in output


def test_a_single_run_is_refused_with_the_command_to_use(capsys: Words) -> None:
    assert main(["--no-ui", "compare", "brave-owl"]) == 2
    output = capsys.readouterr()
    assert "two or more runs; for one run use: nanochat-tui --no-ui show brave-owl" in output.err and output.out == ""


def test_a_missing_run_is_named(tmp_path: Path, capsys: Words) -> None:
    assert main(["--no-ui", "compare", str(BY_ID["finished"].path), "missing", "--results-dir", str(tmp_path)]) == 1
    assert "run 'missing' not found in" in capsys.readouterr().err


def test_the_page_overlays_the_curves(tmp_path: Path, capsys: Words) -> None:
    path = tmp_path / "new" / "both.html"
    compared(capsys, BY_ID["finished"], BY_ID["nonfinite-warned"], flags=("--html", str(path)))
    page = ParsedPage(path.read_text())
    assert page.pictures == 2 and page.tables["Results"][0] == ["", "finished", "nonfinite-warned"]
    assert "/lab/" not in path.read_text() and (tmp_path / "new" / "both.loss.svg").exists()


def test_a_page_does_not_replace_a_directory(tmp_path: Path, capsys: Words) -> None:
    words = ["--no-ui", "compare", str(BY_ID["finished"].path), str(BY_ID["stopped"].path), "--html", str(tmp_path)]
    assert main(words) == 1
    assert f"{tmp_path} cannot be written: it is a directory. Name a file in it." in capsys.readouterr().err


def test_json_is_one_line(capsys: Words) -> None:
    assert main(["--no-ui", "--json", "compare", *(str(run.path) for run in RUNS[:2])]) == 0
    assert capsys.readouterr().out.count("\n") == 1
