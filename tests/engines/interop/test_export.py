"""Exports: tables that are read back agree with the log, and a folder is created complete or not at all."""

import csv
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import make_run
from hypothesis import given
from hypothesis import strategies as st
from recordings import RUNS, are_equal, valid_events

from engines import events
from engines.errors import UserError
from engines.interop import series
from engines.interop.export import WRITERS, export
from engines.runs.record import RunRecord, read_record
from engines.runs.store import Run
from nanochat_tui.commands import COMMANDS

each_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: run.id)


def ignore_step(step: int) -> None:
    """Report nothing."""


def read_csv(path: Path) -> list[dict[str, Any]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read with a parser that rejects NaN, which is not valid JSON."""
    return [json.loads(line, parse_constant=_reject) for line in path.read_text(encoding="utf-8").splitlines()]


def _reject(constant: str) -> None:
    raise AssertionError(f"{constant} is not valid JSON")


def make_run_with_log(folder: Path, *found: dict[str, Any]) -> Run:
    """Create a run with these events."""
    run = make_run(folder)
    run.events_path.write_bytes(b"".join(events.encode({"v": 1, "t": 1.0, **event}) for event in found))
    return run


def steps(first: int, losses: list[float], **fields: Any) -> dict[str, Any]:
    ones = [1.0] * len(losses)
    return {
        "kind": "steps", "first_step": first, "losses": losses, "lr": ones, "seconds": ones, "grad_norms": ones,
        "tokens": 8 * (first + len(losses) - 1), **fields,
    }  # fmt: skip


@each_run
def test_every_recorded_run_is_read_back_from_csv(run: Run, tmp_path: Path) -> None:
    export(read_record(run), "csv", tmp_path / "out", ignore_step)
    expected, evals, samples = valid_events(run)
    found = read_csv(tmp_path / "out" / "steps.csv")
    assert [int(row["step"]) for row in found] == [*range(1, len(expected) + 1)]
    for row, step in zip(found, expected, strict=True):
        assert all(are_equal(float(row[name]), step[name]) for name in ("loss", "lr", "grad_norm", "seconds", "tokens"))
        assert float(row["t"]) == pytest.approx(step["done"], abs=1e-6)
    for row, event in zip(read_csv(tmp_path / "out" / "evals.csv"), evals, strict=True):
        assert row["step"] == str(event["step"]) and row["best"] == str(event["best"])
        assert are_equal(float(row["loss"]), event["loss"]) and are_equal(float(row["bpb"]), event["bpb"])
    assert [row["text"] for row in read_csv(tmp_path / "out" / "samples.csv")] == [event["text"] for event in samples]


@each_run
def test_every_recorded_run_is_read_back_from_json_lines(run: Run, tmp_path: Path) -> None:
    export(read_record(run), "jsonl", tmp_path / "out", ignore_step)
    expected, evals, _ = valid_events(run)
    found = read_jsonl(tmp_path / "out" / "steps.jsonl")
    for row, step in zip(found, expected, strict=True):
        for name in ("loss", "lr", "grad_norm", "seconds", "tokens"):
            value = float(row["nonfinite"][name]) if row[name] is None else row[name]
            assert are_equal(value, step[name])
    assert [row["step"] for row in read_jsonl(tmp_path / "out" / "evals.jsonl")] == [event["step"] for event in evals]
    description = json.loads((tmp_path / "out" / "run.json").read_text(), parse_constant=_reject)
    assert description["run"] == run.id and description["settings"] == run.config["resolved"]
    assert description["figures"]["steps"] == len(expected)


def test_a_loss_that_is_not_finite_is_nan_in_csv_and_null_in_json(tmp_path: Path) -> None:
    record = read_record(next(run for run in RUNS if run.id == "nonfinite-warned"))
    export(record, "csv", tmp_path / "csv", ignore_step)
    export(record, "jsonl", tmp_path / "jsonl", ignore_step)
    words = {row["loss"] for row in read_csv(tmp_path / "csv" / "steps.csv")} & {"nan", "inf"}
    nulls = [row for row in read_jsonl(tmp_path / "jsonl" / "steps.jsonl") if row["loss"] is None]
    assert words and nulls and {row["nonfinite"]["loss"] for row in nulls} == words


@given(parts=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 12)), max_size=12))
def test_a_step_that_was_trained_twice_has_its_last_values(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int]]
) -> None:
    """Each part is a line of steps, after which the run resumes from an earlier step."""
    log: list[dict[str, Any]] = []
    expected: list[tuple[float, float]] = []
    clock = 0.0
    for count, back in parts:
        losses = [clock + index for index in range(1, count + 1)]
        log.append(steps(len(expected) + 1, losses, t=clock + count))
        expected += [(loss, loss) for loss in losses]  # a step takes a second, and its loss is the time
        clock += count + 1
        if back < len(expected):
            log.append({"kind": "resumed", "from_step": back, "reason": "resume", "t": clock})
            del expected[back:]
    record = read_record(make_run_with_log(tmp_path_factory.mktemp("run"), *log))
    assert [(step.loss, step.t) for step in series.iterate_steps(record)] == expected


def test_a_live_run_that_is_resumed_during_the_export_is_exported_as_it_was_read(tmp_path: Path) -> None:
    run = make_run_with_log(tmp_path, steps(1, [3.0, 2.0], t=2.0))
    record = read_record(run)
    with open(run.events_path, "ab") as log:
        log.write(events.encode({"v": 1, "t": 3.0, "kind": "resumed", "from_step": 0, "reason": "resume"}))
        log.write(events.encode({"v": 1, **steps(1, [9.0], t=4.0)}))
    assert [(step.loss, step.t) for step in series.iterate_steps(record)] == [(3.0, 1.0), (2.0, 2.0)]


def test_text_with_any_characters_is_read_back(tmp_path: Path) -> None:
    texts = ['=1+1\r\n"x",\t', "\x00\x1b[31m", "é\u2028🎉", "a\nb"]
    samples = [{"kind": "sample", "step": 0, "prompt": ",", "text": text} for text in (*texts, "\ud800")]
    record = read_record(make_run_with_log(tmp_path, *samples))
    export(record, "csv", tmp_path / "csv", ignore_step)
    export(record, "jsonl", tmp_path / "jsonl", ignore_step)
    assert [row["text"] for row in read_csv(tmp_path / "csv" / "samples.csv")] == [*texts, "\\ud800"]
    lines = (tmp_path / "jsonl" / "samples.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line)["text"] for line in lines[:-1]] == [*texts, "\ud800"]


def test_the_clock_of_a_fork_continues_that_of_its_parent(tmp_path: Path) -> None:
    run = make_run_with_log(tmp_path, steps(1, [3.0], t=70.0))
    config = run.config
    run.write_config({**config, "created_at": 1000.0, "parent": {"run": "other", "step": 0, "seconds": 60.0}})
    assert series.start_time(read_record(run)) == 940.0


def test_a_folder_that_is_not_empty_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    record = read_record(RUNS[0])
    with pytest.raises(UserError, match=r"out cannot be written: the folder is not empty\. Choose another with --out"):
        export(record, "csv", tmp_path / "out", ignore_step)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "thesis.txt"]
    (tmp_path / "out" / "thesis.txt").unlink()
    assert export(record, "csv", tmp_path / "out", ignore_step)


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "^C"])
def test_a_failed_export_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException
) -> None:
    def fail_halfway(record: RunRecord, folder: Path, report_step: Callable[[int], None]) -> None:
        (folder / "steps.csv").write_text("step,lo")
        raise problem

    monkeypatch.setitem(WRITERS, "csv", fail_halfway)
    with pytest.raises((UserError, KeyboardInterrupt)) as raised:
        export(read_record(RUNS[0]), "csv", tmp_path / "out", ignore_step)
    if isinstance(problem, OSError):
        assert "out cannot be written: No space left on device. Choose another with --out" in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "extra"), [("tensorboard", "tensorboard"), ("wandb-offline", "wandb")])
def test_a_missing_package_is_an_error_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, extra: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=rf"--format {format}: {extra} is not installed. .* pip install 'nanochat-tui\[{extra}\]'"
    ):
        export(read_record(RUNS[0]), format, tmp_path / "out", ignore_step)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_the_name_of_a_package_does_not_count_as_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(UserError, match="--format wandb-offline: wandb is not installed"):
        export(read_record(RUNS[0]), "wandb-offline", tmp_path / "out", ignore_step)


def test_every_format_of_the_command_has_a_writer() -> None:
    [keywords] = [argument.keywords for argument in COMMANDS["export"].arguments if argument.name == "--format"]
    assert keywords["choices"] == tuple(WRITERS)


def test_a_missing_value_is_an_empty_cell(tmp_path: Path) -> None:
    record = read_record(make_run_with_log(tmp_path, steps(1, [3.0, math.inf], seconds=[0.0, 0.5])))
    export(record, "csv", tmp_path / "out", ignore_step)
    first, second = read_csv(tmp_path / "out" / "steps.csv")
    assert first["tokens_per_second"] == "" and second["tokens_per_second"] == "16.0" and second["loss"] == "inf"
