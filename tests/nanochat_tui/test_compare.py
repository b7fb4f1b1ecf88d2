"""compare, by the command line: runs side by side, as text, as JSON, as a page."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pages import Page
from recordings import RUNS, last_word

from engines.runs.creation import create_run_directory
from engines.runs.store import Run
from nanochat_tui.cli import main

BY_ID = {run.id: run for run in RUNS}
Words = pytest.CaptureFixture[str]


def compared(capsys: Words, *runs: Run, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    assert main(["--no-ui", "--json", "compare", *(str(run.path) for run in runs), *flags]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_figures_are_those_of_the_runs_files(capsys: Words) -> None:
    for run, told in zip(RUNS, compared(capsys, *RUNS)["runs"], strict=True):
        steps, evals, _ = last_word(run)
        config = json.loads(run.config_path.read_text())
        assert (told["run"], told["path"]) == (run.id, str(run.path))
        assert told["steps"] == len(steps) and told["steps_asked"] == config["resolved"]["steps"]
        assert told["parameters"] == config.get("facts", {}).get("parameters")
        losses = [step["loss"] for step in steps]
        assert _same(told["final_loss"], losses[-1] if losses else None)
        assert _same(told["mean_loss_last_50"], math.fsum(losses[-50:]) / len(losses[-50:]) if losses else None)
        assert _same(told["val_loss"], evals[-1]["loss"] if evals else None)
        assert _same(told["val_bpb"], evals[-1]["bpb"] if evals else None)
        best = min((one for one in evals if math.isfinite(one["loss"])), key=lambda one: one["loss"], default=None)
        assert (told["best_step"], told["best_bpb"]) == (best and best["step"], best and best["bpb"])
        assert _same(told["train_seconds"], math.fsum(step["seconds"] for step in steps))


def _same(told: float | None, wanted: float | None) -> bool:
    """JSON has no NaN: null stands for it, as for what there is not."""
    if wanted is None or not math.isfinite(wanted):
        return told is None
    return told is not None and math.isclose(told, wanted, rel_tol=1e-12)


def test_what_is_not_finite_is_named(capsys: Words) -> None:
    told = compared(capsys, BY_ID["halted-nonfinite"], BY_ID["finished"])["runs"]
    assert "final_loss" in told[0]["nonfinite"] and not told[1].get("nonfinite")


def test_finished_runs_have_the_figures_of_their_summaries(capsys: Words) -> None:
    runs = [run for run in RUNS if run.id.startswith("finished")]
    for run, told in zip(runs, compared(capsys, *runs)["runs"], strict=True):
        summary = json.loads(run.summary_path.read_text())
        shared = {"final_loss", "val_loss", "val_bpb", "best_bpb", "best_step"} & summary.keys() & told.keys()
        assert len(shared) == 5
        assert {name: told[name] for name in shared} == {name: summary[name] for name in shared}


def test_the_settings_that_differ_are_those_of_the_manifests(capsys: Words) -> None:
    runs = BY_ID["finished"], BY_ID["finished-stories"]
    one, other = (json.loads(run.config_path.read_text())["resolved"] for run in runs)
    found = compared(capsys, *runs)
    told = {line["name"]: line["values"] for line in found["differences"] if line["group"] != "code"}
    assert told == {name: [one[name], other[name]] for name in one if one[name] != other[name]} and told
    assert found["settings"] >= len(one)


def test_a_table_has_a_column_for_each_run_and_marks_what_differs(capsys: Words) -> None:
    paths = [str(BY_ID[name].path) for name in ("finished", "finished-stories")]
    assert main(["--no-ui", "compare", *paths]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0].split() == ["finished", "finished-stories"] and told.err == ""
    assert any(line.startswith("≠ data ") and line.split()[-1] == "stories" for line in lines)
    assert main(["--no-ui", "compare", paths[0], paths[0]]) == 0
    assert "differ in 0 of" in capsys.readouterr().out


def test_text_of_any_kind_commands_no_terminal_and_breaks_no_line(tmp_path: Path, capsys: Words) -> None:
    resolved = {"mode": "scalar", "model_kind": "bigram", "data": "a\x1b[2J\nb\tc", "steps": 20}
    run = create_run_directory(tmp_path / "results", None, {"given": {}, "resolved": resolved})
    assert main(["--no-ui", "compare", str(run.path), str(BY_ID["finished"].path)]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told and "a␛[2J␊b␉c" in told


def test_one_run_is_told_how_to_be_looked_at(capsys: Words) -> None:
    assert main(["--no-ui", "compare", "brave-owl"]) == 2
    told = capsys.readouterr()
    assert "two or more runs; for one run use: nanochat-tui --no-ui show brave-owl" in told.err and told.out == ""


def test_a_run_that_is_not_there_is_named(tmp_path: Path, capsys: Words) -> None:
    assert main(["--no-ui", "compare", str(BY_ID["finished"].path), "nobody", "--results-dir", str(tmp_path)]) == 1
    assert "run 'nobody' not found in" in capsys.readouterr().err


def test_a_page_lays_the_curves_over_each_other(tmp_path: Path, capsys: Words) -> None:
    path = tmp_path / "new" / "both.html"
    compared(capsys, BY_ID["finished"], BY_ID["nonfinite-warned"], flags=("--html", str(path)))
    page = Page(path.read_text())
    assert page.pictures == 2 and page.tables["Results"][0] == ["", "finished", "nonfinite-warned"]
    assert "/lab/" not in path.read_text() and (tmp_path / "new" / "both.loss.svg").exists()


def test_a_page_in_the_place_of_a_folder_says_so(tmp_path: Path, capsys: Words) -> None:
    words = ["--no-ui", "compare", str(BY_ID["finished"].path), str(BY_ID["stopped"].path), "--html", str(tmp_path)]
    assert main(words) == 1
    assert f"{tmp_path} cannot be written: it is a directory. Name a file in it." in capsys.readouterr().err


def test_the_json_of_a_comparison_is_one_line(capsys: Words) -> None:
    assert main(["--no-ui", "--json", "compare", *(str(run.path) for run in RUNS[:2])]) == 0
    assert capsys.readouterr().out.count("\n") == 1
