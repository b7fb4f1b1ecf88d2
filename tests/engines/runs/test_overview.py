"""The stored overview of a run: equal to that of its log, and used only while it matches the log."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from builders import finished_run
from recordings import RUNS

from engines.errors import UserError
from engines.runs import checked_json
from engines.runs.board import WatchedRuns
from engines.runs.history import History, read_history
from engines.runs.overview import KEY, LogDigest, Overview, compute_overview, read_entry, read_overview
from engines.runs.reader import EventReader
from engines.runs.store import Run
from engines.runs.watch import WatchedRun


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    shutil.copytree(trained.path, tmp_path / "runs" / trained.id)
    return Run(tmp_path / "runs" / trained.id)


def is_read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Logs that are read from now on."""
    read: list[Path] = []
    poll = EventReader.poll

    def noted(reader: EventReader) -> Any:
        read.append(reader._path)
        return poll(reader)

    monkeypatch.setattr(EventReader, "poll", noted)
    return read


def test_a_list_of_ended_runs_reads_no_log(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = compute_overview(read_history(run))
    read = is_read(monkeypatch)
    (watch,) = WatchedRuns(run.path.parent.parent).refresh()
    assert read_entry(run) == (run.config, "finished", expected)
    assert (watch.state, watch.overview, watch.is_fully_read) == ("finished", expected, False)
    assert read == []
    watch.poll()
    assert watch.is_fully_read and watch.overview == expected and read == [run.events_path]


def damaged(text: str) -> str:
    return text.replace('"step": 20', '"step": 21')


SPOILT = {
    "an edited figure": lambda run: run.summary_path.write_text(damaged(run.summary_path.read_text())),
    "no summary": lambda run: run.summary_path.unlink(),
    "half a summary": lambda run: run.summary_path.write_bytes(run.summary_path.read_bytes()[:400]),
    "no object": lambda run: run.summary_path.write_text("[1]"),
    "a log that has grown": lambda run: append(run),
    "a log with another end": lambda run: run.events_path.write_bytes(run.events_path.read_bytes()[:-3] + b" }\n"),
}


def append(run: Run) -> None:
    with open(run.events_path, "a") as log:
        log.write('{"v":1,"t":9.0,"kind":"heartbeat","step":20}\n')


@pytest.mark.parametrize("spoil", SPOILT)
def test_stored_figures_that_do_not_belong_to_the_log_are_not_used(spoil: str, run: Run) -> None:
    SPOILT[spoil](run)
    assert read_overview(run) is None
    _, state, overview = read_entry(run)
    assert overview == compute_overview(read_history(run)) and overview.step == 20
    assert state == ("finished" if spoil != "a log with another end" else state)


def test_a_resumed_run_has_no_stored_figures_while_it_trains(run: Run) -> None:
    run.summary_path.unlink()  # as its worker does first
    assert read_overview(run) is None
    (watch,) = WatchedRuns(run.path.parent.parent).refresh()
    assert watch.overview.step == 20


def test_the_overview_of_every_ending_is_read_back(tmp_path: Path) -> None:
    for recorded in RUNS:
        history = read_history(recorded)
        if history.ended is None:
            continue
        run = Run(tmp_path / recorded.id)
        shutil.copytree(recorded.path, run.path)
        run.summary_path.write_text(json.dumps(LogDigest(run).store_in({"v": 1})))
        assert repr(read_overview(run)) == repr(compute_overview(history)), recorded.id  # NaN is not equal to itself


def test_copied_files_in_another_order_of_time_keep_the_stored_figures(run: Run) -> None:
    later = run.events_path.stat().st_mtime_ns + 1_000_000
    os.utime(run.log_path, ns=(later, later))
    assert read_overview(run) is not None
    with open(run.log_path, "a") as log:
        log.write(
            '{"v":1,"t":0,"kind":"ended","step":3,"reason":"halted","exit_code":3,"detail":"","traceback":null}\n'
        )
    assert read_overview(run) is None and read_entry(run)[1] == "halted"


def test_a_log_with_damaged_lines_gets_no_stored_figures(run: Run) -> None:
    with open(run.events_path, "a") as log:
        log.write("no event\nno event\n")
    assert KEY not in LogDigest(run).store_in({})


def test_runs_without_stored_figures_keep_no_history_in_a_list(run: Run) -> None:
    run.summary_path.unlink()
    (watch,) = WatchedRuns(run.path.parent.parent).refresh()
    assert watch.overview.step == 20 and not watch.history.step and not watch.is_fully_read


def test_ended_runs_are_checked_in_turn_without_reading_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        shutil.copytree(run.path, tmp_path / "runs" / f"other-{number}")
    board = WatchedRuns(tmp_path, max_checked=3)
    board.refresh()
    version = board.version
    checked: list[str] = []
    needs_poll = WatchedRun.needs_poll
    monkeypatch.setattr(WatchedRun, "needs_poll", lambda watch: checked.append(watch.run.id) or needs_poll(watch))
    for _ in range(3):
        board.refresh()
    assert len(checked) == 3 + 3 + 2 and len(set(checked)) == 8 and board.version == version
    append(Run(tmp_path / "runs" / "other-3"))
    board.request_check(Run(tmp_path / "runs" / "other-3"))
    board.refresh()
    assert board.version == version + 1


def test_a_first_refresh_publishes_the_runs_read_so_far(run: Run, tmp_path: Path) -> None:
    for number in range(4):
        shutil.copytree(run.path, tmp_path / "runs" / f"other-{number}")
    published: list[int] = []
    assert len(WatchedRuns(tmp_path, publish_interval=0.0).refresh(lambda watches: published.append(len(watches)))) == 5
    assert published == [1, 2, 3, 4, 5]


def test_an_empty_history_has_an_empty_overview() -> None:
    assert compute_overview(History()) == Overview()


def test_a_list_verifies_a_manifest_only_if_its_bytes_have_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    monkeypatch.setattr(checked_json, "_compute_checksum", lambda content: verified.append(content))
    assert read_entry(run)[0]["run"] == run.id and not verified
    edited = run.config_path.read_text().replace('"steps": 20', '"steps": 21')
    run.config_path.write_text(edited)
    with pytest.raises(UserError, match=r"is damaged or was edited"):
        read_entry(run)
    assert verified
