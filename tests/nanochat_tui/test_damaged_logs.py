"""Commands on runs whose logs are damaged: every other run is listed, and each reports what could not be read."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from builders import events_of, finished_run, write_log

from engines.ablation.analysis import analyse
from engines.ablation.plan import Job, make_plan
from engines.ablation.study import create_study, load_results
from engines.interop import series
from engines.reproduce.compare import IDENTICAL, TrainingRecord, compare_records
from engines.runs.record import read_record
from engines.runs.store import Run
from nanochat_tui.cli import main

LOST = "steps 11–15 could not be read: 1 line of events.jsonl is damaged or missing."


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """Steps 11–15 of 20 are on a line with a changed digit."""
    shutil.copytree(trained.path, tmp_path / "results" / "runs" / trained.id)
    run = Run(tmp_path / "results" / "runs" / trained.id)
    other = [event for event in events_of(run) if event["kind"] != "steps"]
    columns = {
        name: [x for e in events_of(run, "steps") for x in e[name]]
        for name in ("losses", "lr", "seconds", "grad_norms")
    }
    tokens = events_of(run, "steps")[-1]["tokens"] // 20
    steps = [
        {"v": 1, "t": 0.5, "kind": "steps", "first_step": first, "tokens": tokens * (first + 4)}
        | {name: values[first - 1 : first + 4] for name, values in columns.items()}
        for first in (1, 6, 11, 16)
    ]
    write_log(run.events_path, *other[:-1], *steps, other[-1])
    lines = run.events_path.read_bytes().splitlines(keepends=True)
    damaged = next(place for place, line in enumerate(lines) if b'"first_step":11' in line)
    lines[damaged] = lines[damaged].replace(b'"losses":[', b'"losses":[1')
    run.events_path.write_bytes(b"".join(lines))
    return run


def run_command(capsys: pytest.CaptureFixture[str], run: Run, *words: str) -> Any:
    capsys.readouterr()
    assert main(["--no-ui", *words, "--results-dir", str(run.path.parent.parent)]) == 0
    return capsys.readouterr()


def test_show_and_runs_report_unreadable_steps(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"run {run.id}: {LOST}" in run_command(capsys, run, "show", run.id).err
    assert json.loads(run_command(capsys, run, "show", run.id, "--json").out)["unreadable"] == LOST
    (row,) = map(json.loads, run_command(capsys, run, "runs", "--json").out.splitlines())
    assert row["unreadable"] == LOST and row["step"] == 20 and row["state"] == "finished"


def test_a_checkpoint_beyond_the_end_of_a_log_shows_that_steps_are_missing(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(Path(shutil.copytree(trained.path, tmp_path / "results" / "runs" / "cut")))
    write_log(run.events_path, *(event for event in events_of(run) if event["kind"] == "run"))
    (run.summary_path).unlink()
    for words in (["runs"], ["show", "cut"], ["compare", "cut", "cut"]):
        output = run_command(capsys, run, *words)
        assert "run cut: steps 1–20 could not be read." in output.err and "20/20" in output.out + "20/20" * (
            len(words) > 2
        )
    assert read_record(run).history.step == 20
    main(["--no-ui", "attach", str(run.path)])
    assert "cut: steps 1–20 could not be read." in capsys.readouterr().err


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "damaged"])
def test_every_command_whose_figures_come_from_a_damaged_log_names_it(
    is_deleted: bool, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "events.jsonl cannot be read: No such file or directory." if is_deleted else LOST
    if is_deleted:
        run.events_path.unlink()
    out = iter(str(tmp_path / f"out-{number}") for number in range(9))
    for command in (["runs"], ["show", run.id], ["report", run.id, "--out", next(out)], ["compare", run.id, run.id],
                    ["export", run.id, "--out", next(out)]):  # fmt: skip
        output = run_command(capsys, run, *command)
        assert f"run {run.id}: {reason}" in output.err, command
        if "--out" in command:
            command[-1] = next(out)
        found = json.loads(run_command(capsys, run, *command, "--json").out)
        assert reason in str(found["runs"][0]["unreadable"] if "runs" in found else found["unreadable"]), command
    sample = ["sample", run.id, "--checkpoint", "best", "--count", "1"]
    code = main(["--no-ui", *sample, "--results-dir", str(run.results)])
    assert code == is_deleted and f"run {run.id}: {reason}" in capsys.readouterr().err


def test_compare_and_report_name_unreadable_steps(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    page = run.path.parent / "compared.html"
    output = run_command(capsys, run, "compare", run.id, run.id, "--json", "--html", str(page))
    assert f"run {run.id}: {LOST}" in output.err
    assert [each["unreadable"] for each in json.loads(output.out)["runs"]] == [LOST, LOST]
    assert LOST in page.read_text()
    report = run.path.parent / "report.html"
    run_command(capsys, run, "report", run.id, "--out", str(report))
    assert "teps 11–15 could not be read" in report.read_text() and "loss not finite" not in report.read_text()


def test_an_export_leaves_out_the_steps_that_could_not_be_read(run: Run, trained: Run) -> None:
    found = {step.step: step.loss for step in series.iterate_steps(read_record(run))}
    intact = {step.step: step.loss for step in series.iterate_steps(read_record(trained))}
    assert found == {step: loss for step, loss in intact.items() if not 11 <= step <= 15}


def test_losses_that_could_not_be_read_are_not_compared(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    losses = [1.0, 2.0, 3.0, 4.0]
    whole, part = (TrainingRecord(values, {}, {}, {}, {}, gaps) for values, gaps in (
        (losses, ()), ([1.0, float("nan"), float("nan"), 4.0], [range(2, 4)])))  # fmt: skip
    found = compare_records(whole, part)
    assert found.verdict == IDENTICAL and found.unreadable == 2 and found.losses == (2, 2)
    output = run_command(capsys, run, "reproduce", run.id).out
    assert "15 of 15 identical; 5 could not be read and were not compared" in output


def evaluation(step: int) -> dict[str, Any]:
    figures = {"loss": 1e308, "bpb": -1e308, "tokens": 1, "bytes": 0, "seconds": 1e9, "best": True}
    return {"v": 1, "t": 1e9, "kind": "eval", "step": step, **figures}


BAD = {
    "a directory for a log": lambda run: (run.events_path.unlink(), run.events_path.mkdir()),
    "no log": lambda run: run.events_path.unlink(),
    "zeros": lambda run: run.events_path.write_bytes(b"\0" * 9999),
    "deep brackets": lambda run: run.events_path.write_bytes(b"[" * 99_999 + b"\n"),
    "a crafted log": lambda run: write_log(
        run.events_path, *({"v": 1, "t": 1e9, "kind": "resumed", "from_step": step, "reason": "x"}
                           for step in (-1, 10**15, 1_999_999, 3))),
    "crafted evaluations": lambda run: write_log(run.events_path, *map(evaluation, (2**53, 2**62, 0))),
    "a crafted date": lambda run: run.config_path.write_text(
        json.dumps(json.loads(run.config_path.read_text()) | {"created_at": 1e18})),
}  # fmt: skip


@pytest.mark.parametrize("make_bad", BAD.values(), ids=BAD)
def test_a_damaged_run_does_not_hide_others_from_the_list(
    make_bad: Any, run: Run, trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Run(Path(shutil.copytree(trained.path, run.path.parent / "bad-run")))
    make_bad(bad)
    bad.summary_path.unlink(missing_ok=True)
    assert run.id in run_command(capsys, run, "runs").out
    rows = [json.loads(line) for line in run_command(capsys, run, "runs", "--json").out.splitlines()]
    assert run.id in [row["run"] for row in rows]
    for words in (["show", "bad-run"], ["compare", run.id, "bad-run"]):
        code = main(["--no-ui", *words, "--results-dir", str(run.path.parent.parent)])
        assert code in (0, 1) and "Traceback" not in capsys.readouterr().err


def test_a_study_names_the_damaged_logs_and_scores_no_earlier_evaluation(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan({"data": "names", "steps": 20}, {"lr": ["0.1"]}, {"seeds": 1})
    study = create_study(tmp_path / "results", plan)
    runs = [Run(Path(shutil.copytree(trained.path, study.results / "runs" / f"run-{cell}"))) for cell in (0, 1)]
    for cell, run in enumerate(runs):
        study.link_run(Job(cell, plan.seeds[0], 0), run)
    lines = runs[1].events_path.read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if b'"kind":"eval"' in line)
    runs[1].events_path.write_bytes(b"".join(lines[:last] + lines[last + 1 :]))
    lost = f"run run-1 of {study.id}: 1 line of events.jsonl could not be read."

    page = tmp_path / "report.html"
    output = run_command(capsys, runs[0], "report", study.id, "--out", str(page), "--json")
    assert lost in output.err and json.loads(output.out)["unreadable"] == [lost] and lost in page.read_text()
    results = load_results(study, plan)
    assert [result.outcome for result in results.values()] == ["finished", "unreadable"]
    assert results[Job(1, plan.seeds[0], 0)].val_bpb is None
    cells = {cell.name: cell for cell in analyse(plan, results).cells}
    assert cells["lr=0.1"].verdict == "unreadable" and cells["base"].val_bpb is not None

    study.events_path.unlink()
    gone = "events.jsonl cannot be read: No such file or directory."
    for words in (["studies"], ["report", study.id, "--out", str(page)]):
        assert f"study {study.id}: {gone}" in run_command(capsys, runs[0], *words).err
    assert json.loads(run_command(capsys, runs[0], "studies", "--json").out)["unreadable"] == gone


@pytest.mark.parametrize("name", ["config.json", "events.jsonl", "summary.json", "worker.log", "run.lock"])
@pytest.mark.filterwarnings("error")
def test_no_command_waits_for_a_fifo_in_place_of_a_file(
    name: str, run: Run, trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Run(Path(shutil.copytree(trained.path, run.path.parent / "bad-run")))
    (bad.path / name).unlink(missing_ok=True)
    os.mkfifo(bad.path / name)
    assert run.id in run_command(capsys, run, "runs").out
    for command in ("show", "report", "export", "attach", "sample", "reproduce"):
        if (command, name) != ("reproduce", "run.lock"):
            assert main(["--no-ui", command, "bad-run", "--results-dir", str(run.results)]) in (0, 1, 5)
            assert "traceback is in" not in capsys.readouterr().err
