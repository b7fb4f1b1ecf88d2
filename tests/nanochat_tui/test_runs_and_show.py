"""runs, show, studies: correct metrics, and one sentence per run that cannot be read."""

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from app_pilot import hold_lock
from builders import finished_run, make_run
from recordings import RUNS

from engines import events
from engines.ablation.plan import make_plan
from engines.ablation.study import create_study
from engines.output.units import format_duration
from engines.runs.history import History, read_history
from engines.runs.lookup import add_used_results_dir
from engines.runs.store import Run
from nanochat_tui.cli import main
from nanochat_tui.headless.event_text import format_metrics
from nanochat_tui.headless.formatting import format_loss, format_step_count

Words = pytest.CaptureFixture[str]
BY_ID = {run.id: run for run in RUNS}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    shutil.copytree(BY_ID["finished"].path, tmp_path / "results" / "runs" / "finished")
    return tmp_path / "results"


def printed(capsys: Words, *words: str) -> str:
    assert main(["--no-ui", *words]) == 0
    return capsys.readouterr().out


def rows(capsys: Words, results: Path) -> dict[str, dict[str, str]]:
    """The table of `runs`: the cells of each run by column."""
    head, *lines = printed(capsys, "runs", "--results-dir", str(results)).splitlines()
    starts = [match.start() for match in re.finditer(r"(?<=  )\S|^\S", head)]
    cells = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in (head, *lines)]
    return {line[0]: dict(zip(cells[0], line, strict=True)) for line in cells[1:]}


def append(run: Run, **fields: Any) -> None:
    with run.events_path.open("ab") as log:
        log.write(events.encode({"v": 1, "t": 1.0, **fields}))


def steps(first: int, losses: list[float], t: float = 1.0) -> dict[str, Any]:
    ones = [0.5] * len(losses)
    return {"kind": "steps", "first_step": first, "losses": losses, "lr": ones, "seconds": ones,
            "grad_norms": ones, "tokens": 8 * (first + len(losses) - 1), "t": t}  # fmt: skip


# --- figures ------------------------------------------------------------------------------------------


def test_every_command_shows_throughput_and_time_of_a_finished_run(results: Path, capsys: Words) -> None:
    run = Run(results / "runs" / "finished")
    history, summary = read_history(run), json.loads(run.summary_path.read_text())
    row = rows(capsys, results)["finished"]
    assert row["tok/s"] == f"{history.mean_tokens_per_second():,.0f}" and row["time"] == format_duration(history.last_t)
    shown = printed(capsys, "show", "finished", "--results-dir", str(results)).splitlines()[0]
    assert f"{row['tok/s']} tok/s" in shown and f"time {row['time']}" in shown and "ETA" not in shown
    assert f"seconds={summary['train_seconds']:.3f}" in printed(capsys, "attach", str(run.path))
    for found in (
        printed(capsys, "runs", "--json", "--results-dir", str(results)),
        printed(capsys, "show", "--json", str(run.path)),
    ):
        assert json.loads(found)["tokens_per_second"] == pytest.approx(summary["tokens_per_second"], rel=1e-3)
        assert json.loads(found)["elapsed_seconds"] == history.last_t


def test_a_paused_run_shows_no_time_left(tmp_path: Path, capsys: Words) -> None:
    run = make_run(tmp_path)
    append(run, kind="phase", phase="train", done=None, total=None)
    append(run, **steps(1, [3.0, 2.9], t=60.0))
    with hold_lock(run):
        assert "ETA" in printed(capsys, "show", run.id, "--results-dir", str(run.results))
        append(run, kind="control", request="1-pause.json", verb="pause", outcome="done")
        shown = printed(capsys, "show", run.id, "--results-dir", str(run.results))
        assert "paused" in shown and "ETA" not in shown and "time 60 s" in shown


def test_a_diverged_run_does_not_widen_the_table(tmp_path: Path, capsys: Words) -> None:
    run = make_run(tmp_path)
    append(run, **steps(1, [3.0, 1e300]))
    value = {
        "loss": 1e300,
        "bpb": 1.5e299,
        "tokens": 1,
        "bytes": 1,
        "seconds": 0.0,
        "floor_bpb": None,
        "floor_error": None,
    }
    append(run, kind="eval", step=2, best=True, **value)
    row = rows(capsys, run.results)[run.id]
    assert row["bpb"] == row["best"] == "1.5e+299"
    lines = printed(capsys, "show", run.id, "--results-dir", str(run.results)).splitlines()
    assert "loss 1e+300  bpb 1.5e+299" in lines[0] and len(lines[0]) < 120 and "0" * 30 not in "".join(lines)


def test_a_clock_that_was_set_back_gives_no_negative_age(tmp_path: Path, capsys: Words) -> None:
    run = make_run(tmp_path)
    run.write_config({**run.config, "created_at": time.time() + 9000})
    assert rows(capsys, run.results)[run.id]["age"] == "< 1 min"


def test_a_step_has_one_format(tmp_path: Path, capsys: Words) -> None:
    run = make_run(tmp_path, steps=3000)
    append(run, **steps(1, [3.0] * 1500))
    append(
        run,
        kind="eval",
        step=1500,
        loss=3.0,
        bpb=4.0,
        best=True,
        tokens=1,
        bytes=1,
        seconds=0.0,
        floor_bpb=None,
        floor_error=None,
    )
    assert rows(capsys, run.results)[run.id]["step"] == "1,500/3,000"
    shown = printed(capsys, "show", run.id, "--results-dir", str(run.results))
    assert shown.count("step 1,500/3,000  ") == 2 and "1500" not in shown


def test_numbers_have_a_fixed_width() -> None:
    assert [format_loss(value) for value in (2.5, -1.0, 123456.0, 1e300, None)] == [
        "2.5000",
        "-1.0000",
        "1.23e+05",
        "1e+300",
        "nan",
    ]
    assert format_loss(float("nan")) == "nan" and format_step_count(5, 3000) == "    5/3,000"
    assert format_metrics(History(), 10) == ""


# --- other results directories ------------------------------------------------------------------------


def test_runs_of_another_results_directory_are_marked(results: Path, tmp_path: Path, capsys: Words) -> None:
    assert "results directory" not in printed(capsys, "runs", "--results-dir", str(results))
    assert "(another" not in printed(capsys, "show", "finished", "--results-dir", str(results))
    add_used_results_dir(results)
    elsewhere = str(tmp_path / "empty")
    assert rows(capsys, tmp_path / "empty")["finished"]["results directory"] == str(results)
    assert "(another results directory)" in printed(capsys, "show", "finished", "--results-dir", elsewhere)
    found = json.loads(printed(capsys, "runs", "--json", "--results-dir", elsewhere))
    assert found["path"] == str(results / "runs" / "finished")


def test_studies_of_another_results_directory_are_marked(tmp_path: Path, capsys: Words) -> None:
    study = create_study(tmp_path / "there", make_plan({"data": "names"}, {"lr": ["0.1", "0.2"]}, {}))
    (tmp_path / "there" / "runs").mkdir()
    add_used_results_dir(tmp_path / "there")
    assert "  in " not in printed(capsys, "studies", "--results-dir", str(tmp_path / "there"))
    assert printed(capsys, "studies", "--results-dir", str(tmp_path / "here")).endswith(f"  in {study.results}\n")


# --- runs that cannot be read -------------------------------------------------------------------------


def spoil(run: Run, how: str) -> None:
    if how == "events.jsonl is a directory":
        run.events_path.unlink()
        (run.events_path / "x").mkdir(parents=True)
    elif how == "config.json is a directory":
        run.config_path.unlink()
        run.config_path.mkdir()
    elif how == "config.json is damaged":
        run.config_path.write_bytes(b"\xff{")
    elif how == "config.json is a link to itself":
        run.config_path.unlink()
        run.config_path.symlink_to("config.json")
    elif how == "checkpoints is a file":
        (run.path / "checkpoints").touch()
    elif how == "run.lock is a directory":
        run.lock_path.mkdir()
    elif how == "summary.json is a directory":
        run.summary_path.mkdir()
    elif how == "foreign":
        shutil.rmtree(run.path)
        (run.path / "events.out.tfevents").mkdir(parents=True)
    elif how == "a file":
        shutil.rmtree(run.path)
        run.path.touch()
    elif how == "a dangling link":
        shutil.rmtree(run.path)
        run.path.symlink_to("nothing")


WAYS = {
    "events.jsonl is a directory": 1, "config.json is a directory": 1, "config.json is damaged": 1,
    "config.json is a link to itself": 1, "checkpoints is a file": 0, "run.lock is a directory": 0,
    "summary.json is a directory": 0, "foreign": 0, "a file": 0, "a dangling link": 0,
}  # fmt: skip


@pytest.mark.parametrize("how", WAYS)
def test_a_bad_run_is_one_sentence_and_does_not_hide_others(
    how: str, results: Path, tmp_path: Path, capsys: Words
) -> None:
    bad = make_run(tmp_path)
    spoil(bad, how)
    assert main(["--no-ui", "runs", "--results-dir", str(results)]) == 0
    output = capsys.readouterr()
    assert "finished" in output.out and output.err.count("\n") == WAYS[how]
    assert (bad.id in output.err) == bool(WAYS[how])
    good = str(results / "runs" / "finished")
    out = ["--out", str(tmp_path / "out")]
    for words in (["show", "finished"], ["show", "last"], ["report", "finished", *out], ["compare", "finished", good],
                  ["export", "finished", *out[:1], f"{out[1]}2"], ["studies"]):  # fmt: skip
        assert main(["--no-ui", *words, "--results-dir", str(results)]) == 0 or "last" in words, words
        assert "Traceback" not in capsys.readouterr().err
    for command in ("show", "report", "export", "attach", "inspect", "sample"):
        code = main(["--no-ui", command, bad.id, "--results-dir", str(results)])
        output = capsys.readouterr()
        assert code in (0, 1, 5) and "traceback is in" not in output.err, (command, output.err)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_run_is_one_sentence(results: Path, tmp_path: Path, capsys: Words) -> None:
    bad = make_run(tmp_path)
    bad.path.chmod(0)
    assert main(["--no-ui", "runs", "--results-dir", str(results)]) == 0
    output = capsys.readouterr()
    bad.path.chmod(0o700)
    assert "finished" in output.out and output.err.count("\n") == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"v": 99}', '{"v": 1}', None])
def test_a_bad_study_is_one_sentence_and_does_not_hide_others(
    content: str | None, tmp_path: Path, capsys: Words
) -> None:
    plan = make_plan({"data": "names"}, {"lr": ["0.1", "0.2"]}, {})
    good, bad = create_study(tmp_path, plan), create_study(tmp_path, plan)
    if content is None:
        bad.config_path.unlink()
        bad.config_path.mkdir()
    else:
        bad.config_path.write_text(content)
    assert main(["--no-ui", "studies", "--results-dir", str(tmp_path)]) == 0
    output = capsys.readouterr()
    assert good.id in output.out and bad.id not in output.out and output.err.count("\n") == 1


def test_fewer_steps_than_were_trained_are_refused(tmp_path: Path, capsys: Words) -> None:
    parent = finished_run(tmp_path)
    for steps_option in ("10", "20"):
        assert (
            main(["--no-ui", "resume", parent.id, "--steps", steps_option, "--results-dir", str(parent.results)]) == 2
        )
        output = capsys.readouterr().err
        assert f"--steps {steps_option} must be greater than 20, the last step of run {parent.id}." in output
    assert os.listdir(parent.results / "runs") == [parent.id]


@pytest.mark.parametrize("changes", [("--lr", "0.5"), ("--tokens", "100"), ("--time-budget", "0.0001")])
def test_a_fork_that_would_train_no_step_is_refused(changes: tuple[str, str], tmp_path: Path, capsys: Words) -> None:
    parent = finished_run(tmp_path)
    assert main(["--no-ui", "resume", parent.id, *changes, "--results-dir", str(parent.results)]) == 2
    output = capsys.readouterr().err
    spent = {"--steps": "20", **dict([changes])}
    spent.pop("--lr", None)
    for flag, value in spent.items():
        assert f"{flag} {value} is used up at step 20, the checkpoint of run {parent.id}" in output
    assert output.count("\n") == len(spent)
    assert os.listdir(parent.results / "runs") == [parent.id]


def test_a_results_directory_with_only_damaged_runs_is_not_empty(tmp_path: Path, capsys: Words) -> None:
    make_run(tmp_path).config_path.write_text("{")
    assert main(["--no-ui", "runs", "--results-dir", str(tmp_path / "results")]) == 0
    assert "is damaged or was edited" in (output := capsys.readouterr().err) and "no runs yet" not in output


@pytest.mark.parametrize("command", ["show", "sample", "inspect", "export", "report", "reproduce", "attach"])
def test_an_empty_name_is_an_error_of_every_command(command: str, results: Path, capsys: Words) -> None:
    assert main(["--no-ui", command, "", "--results-dir", str(results)]) == 1
    assert "the name of a run is empty" in capsys.readouterr().err
