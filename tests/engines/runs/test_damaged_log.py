"""Damaged logs: no reader returns a number that was not recorded, and what was lost is reported."""

import errno
import json
import math
import os
import time
from array import array
from pathlib import Path
from typing import Any

import pytest
from builders import make_run, write_log
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import events
from engines.errors import UserError
from engines.runs import log as log_module
from engines.runs.board import WatchedRuns
from engines.runs.history import History, read_resumable_history
from engines.runs.launch import launch
from engines.runs.liveness import find_ending
from engines.runs.log import EventLog, LogError
from engines.runs.reader import EventReader
from engines.training.fork import fork_run

NAN = math.nan


def write_real_log(path: Path) -> None:
    """Two starts, a NaN, evaluations and a checkpoint that the run went back to, by the writer itself."""
    log = EventLog(path, time.time())
    log.emit("run", pid=1, host="lab", start=1)
    log.emit("phase", phase="train", done=None, total=None)
    for step in range(1, 61):
        log.record_step(NAN if step == 33 else 5 - step / 100, 0.1, 0.001 + step / 1e5, 1.0 + step, 10 * step)
        if step % 10 == 0:
            log.emit(
                "eval", step=step, loss=4 - step / 100, bpb=2 - step / 100, tokens=9, bytes=9, seconds=0.1, best=True
            )
    log.emit("checkpoint", step=40, path="checkpoints/step-00000040", bytes=9, seconds=0.1, removed=[])
    log.flush()
    log = EventLog(path, time.time())
    log.emit("run", pid=2, host="lab", start=2)
    log.emit("resumed", from_step=40, reason="resume")
    log.start_from(40)
    for step in range(41, 81):
        log.record_step(3 - step / 100, 0.1, 0.002, 1.0, 10 * step)
        if step % 10 == 0:
            log.emit("sample", step=step, prompt="the ", text="dog {}\n")
    log.emit("ended", reason="finished", step=80, exit_code=0, detail=None, traceback=None)
    log.flush()


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    write_real_log(path)
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "events.jsonl"


def read(path: Path, content: bytes | None = None) -> History:
    if content is not None:
        path.write_bytes(content)
    history = History()
    for _ in history.read(EventReader(path)):
        pass
    return history


def everything(history: History) -> tuple[Any, ...]:
    columns = [getattr(history, name).tobytes() for name in ("losses", "lr", "seconds", "grad_norms")]
    lists = history.runs, history.evals, history.samples, history.checkpoints, history.guards, history.rewinds
    return (*columns, history.tokens, *lists, history.ended)


def recorded(lines: list[bytes]) -> dict[int, set[str]]:
    """Every loss that was recorded of a step, also those that the run went back from."""
    found: dict[int, set[str]] = {}
    for line in lines:
        event = events.decode(line.rstrip())
        if event and event["kind"] == "steps":
            for step, loss in enumerate(events.decode_column(event, "losses"), event["first_step"]):
                found.setdefault(step, set()).add(repr(loss))
    return found


def assert_nothing_is_wrong(history: History, lines: list[bytes], intact: History) -> None:
    if not history.damage:
        assert everything(history) == everything(intact)
    known = recorded(lines)
    for part in history.iter_readable():
        assert all(repr(history.losses[step - 1]) in known[step] for step in part)
    assert all(math.isnan(history.losses[step - 1]) for gap in history.missing for step in gap)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_flipped_bit_is_reported_or_changes_nothing(lines: list[bytes], scratch: Path, data: st.DataObject) -> None:
    content = bytearray(b"".join(lines))
    content[data.draw(st.integers(0, len(content) - 2))] ^= 1 << data.draw(st.integers(0, 7))
    assert_nothing_is_wrong(read(scratch, bytes(content)), lines, read(scratch, b"".join(lines)))


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_lost_and_copied_lines_are_reported_or_change_nothing(
    lines: list[bytes], scratch: Path, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(lines) - 2))
    to = data.draw(st.integers(0, len(lines) - 1))
    copied = data.draw(st.booleans())
    changed = [*lines[:to], lines[at], *lines[to:]] if copied else [*lines[:at], *lines[at + 1 :]]
    history = read(scratch, b"".join(changed))
    assert_nothing_is_wrong(history, lines, read(scratch, b"".join(lines)))
    assert copied or history.damage


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_truncated_log_gives_the_history_of_that_time(lines: list[bytes], scratch: Path, data: st.DataObject) -> None:
    content = b"".join(lines)
    size = data.draw(st.integers(0, len(content)))
    whole = content[:size].rpartition(b"\n")[0].splitlines(keepends=True)
    history = read(scratch, content[:size])
    assert not history.damage and everything(history) == everything(read(scratch, b"".join(whole) + b"\n"))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_writer_that_continues_a_damaged_log_hides_nothing(
    lines: list[bytes], scratch: Path, data: st.DataObject
) -> None:
    content = bytearray(b"".join(lines))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    scratch.write_bytes(content)
    log = EventLog(scratch, time.time())
    log.emit("run", pid=3, host="lab", start=3)
    log.flush()
    history = read(scratch)
    assert history.damage or (len(history.runs) == 3 and everything(history)[:4] == everything(
        read(scratch, b"".join(lines)))[:4])  # fmt: skip


def test_a_flipped_bit_loses_only_its_own_line(lines: list[bytes], scratch: Path) -> None:
    place = max(i for i, line in enumerate(lines) if b'"first_step":51' in line)
    damaged = bytearray(lines[place])
    damaged[damaged.index(b"2.")] ^= 1  # still valid JSON
    history = read(scratch, b"".join([*lines[:place], damaged, *lines[place + 1 :]]))
    intact = read(scratch, b"".join(lines))
    assert history.missing == [range(51, 61)] and history.step == 80 and history.unreadable_lines == 1
    assert history.losses[:50].tobytes() == intact.losses[:50].tobytes() and history.losses[60:] == intact.losses[60:]
    assert [event["step"] for event in history.samples] == [event["step"] for event in intact.samples]
    assert history.damage == "steps 51–60 could not be read: 1 line of events.jsonl is damaged or missing."


def test_a_lost_newline_loses_neither_line(lines: list[bytes], scratch: Path) -> None:
    for at in range(len(lines) - 1):
        history = read(scratch, b"".join([*lines[:at], lines[at][:-1], b"\x0b", *lines[at + 1 :]]))
        assert not history.damage and everything(history) == everything(read(scratch, b"".join(lines)))


def test_zeros_that_a_power_failure_left_hide_no_line(lines: list[bytes], scratch: Path) -> None:
    history = read(scratch, b"".join([*lines[:7], b"\0" * 4096, *lines[7:]]))
    assert not history.damage and everything(history) == everything(read(scratch, b"".join(lines)))


def test_a_lost_evaluation_is_counted(lines: list[bytes], scratch: Path) -> None:
    place = next(i for i, line in enumerate(lines) if b'"kind":"eval"' in line)
    assert (
        read(scratch, b"".join(lines[:place] + lines[place + 1 :])).damage
        == "1 line of events.jsonl could not be read."
    )


def test_an_incomplete_line_of_a_killed_worker_is_not_a_loss(lines: list[bytes], scratch: Path) -> None:
    scratch.write_bytes(b"".join(lines[:-1]) + lines[-1][:9])
    log = EventLog(scratch, time.time())
    log.emit("run", pid=3, host="lab", start=3)
    log.flush()
    assert read(scratch).damage == "" and len(read(scratch).runs) == 3


def test_lines_without_checksums_are_read_until_the_first_that_has_one(lines: list[bytes], scratch: Path) -> None:
    old = [line[: line.rindex(b',"n":')] + b"}\n" for line in lines]
    intact = read(scratch, b"".join(lines))
    history = read(scratch, b"".join(old))
    assert everything(history) == everything(intact) and not history.damage
    log = EventLog(scratch, time.time())
    log.emit("run", pid=3, host="lab", start=3)
    log.flush()
    history = read(scratch)
    assert not history.damage and len(history.runs) == 3
    with open(scratch, "ab") as file:
        file.write(old[0])
    assert read(scratch).unreadable_lines == 1 and len(read(scratch).runs) == 3


def test_steps_after_a_gap_keep_their_numbers() -> None:
    history = History()
    history.apply([steps(1, [5.0, 4.0]), steps(6, [3.0])])
    assert history.losses[:2] == array("d", [5.0, 4.0]) and history.losses[5] == 3.0
    assert history.missing == [range(3, 6)] and list(history.iter_readable()) == [range(1, 3), range(6, 7)]
    assert history.tokens == 60 and history.last_loss == 3.0 and history.newest_losses(4) == [3.0]
    history.apply([{"t": 2.0, "kind": "resumed", "from_step": 4, "reason": "rollback"}])
    assert history.missing == [range(3, 5)] and history.step == 4 and history.last_loss is None


def test_repeated_steps_replace_those_undone_by_a_lost_event() -> None:
    history = History()
    history.apply([steps(1, [5.0, 4.0, 3.0]), steps(2, [2.0, 1.0])])
    assert history.losses == array("d", [5.0, 2.0, 1.0]) and history.damage


def test_a_checkpoint_beyond_the_log_leaves_a_gap_that_is_reported() -> None:
    history = History()
    history.apply(
        [steps(1, [5.0]), {"t": 2.0, "kind": "resumed", "from_step": 20, "reason": "resume"}, steps(21, [1.0])]
    )
    assert history.step == 21 and history.losses[20] == 1.0 and history.tokens == 210
    assert history.damage == "steps 2–20 could not be read."


def steps(first: int, losses: list[float]) -> dict[str, Any]:
    column = [0.1] * len(losses)
    return {
        "v": 1, "t": 1.0, "kind": "steps", "first_step": first, "losses": losses, "lr": column, "seconds": column,
        "grad_norms": column, "tokens": 10 * (first + len(losses) - 1),
    }  # fmt: skip


# --- events that no run records -------------------------------------------------------------------

CRAFTED: list[dict[str, Any]] = [
    {"kind": "resumed", "from_step": -5, "reason": "x"},
    {"kind": "resumed", "from_step": 10**15, "reason": "x"},
    {"kind": "heartbeat", "step": 2**62},
    {**steps(1, [1.0]), "first_step": 10**15},
    {**steps(1, [1.0]), "first_step": -3},
    {**steps(1, [1.0]), "tokens": -1},
    {**steps(1, [1.0]), "seconds": [-1.0]},
    {**steps(1, [1.0]), "nonfinite": {"losses": {"0": "5.0"}}},
    {"kind": "eval", "step": -1, "loss": 1.0, "bpb": 1.0, "tokens": 1, "bytes": 1, "seconds": 1.0, "best": True},
    {"kind": "eval", "step": 1, "loss": 1.0, "bpb": 1.0, "tokens": 1, "bytes": 1, "seconds": -1.0, "best": True},
    {"kind": "heartbeat", "step": 1, "t": 1e300},
    {"kind": "heartbeat", "step": 1, "t": -1},
    {"kind": "phase", "phase": "train", "done": -1, "total": 3},
    {"kind": "phase", "phase": "train", "done": 1, "total": 3, "activity": 7},
    {"kind": "ended", "reason": "finished", "step": 1, "exit_code": 0, "tables": 7},
]


@pytest.mark.parametrize("crafted", CRAFTED, ids=lambda event: f"{event['kind']}-{len(json.dumps(event))}")
def test_an_event_out_of_range_counts_as_damage_and_allocates_nothing(tmp_path: Path, crafted: dict[str, Any]) -> None:
    path = tmp_path / "events.jsonl"
    write_log(path, steps(1, [5.0]), {"v": 1, "t": 1.0, **crafted}, steps(2, [4.0]))
    history = read(path)
    assert history.losses == array("d", [5.0, 4.0]) and history.damage == "1 line of events.jsonl could not be read."


def test_a_line_that_is_too_long_is_skipped_and_the_next_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write_log(path, steps(1, [5.0]))
    with open(path, "ab") as log:
        log.write(b'{"v":1,"t":1,"kind":"steps","first_step":2,"tokens":1,"losses":[' + b"1," * 10**7 + b"1]}\n")
        log.write(b"[" * 10**6 + b"\n")
        log.write(events.encode_line(steps(2, [4.0]), 2))
    history = read(path)
    assert history.losses == array("d", [5.0, 4.0])


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo], ids=["directory", "fifo"])
def test_a_log_that_is_not_a_file_is_a_problem_and_not_an_exception(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "events.jsonl"
    make(path)
    assert read(path).damage == "events.jsonl cannot be read: it is not a regular file."


# --- writing ----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(pieces=st.lists(st.integers(1, 60), min_size=1))
def test_short_writes_lose_nothing(tmp_path_factory: pytest.TempPathFactory, pieces: list[int]) -> None:
    path = tmp_path_factory.mktemp("short") / "events.jsonl"
    write, sizes = os.write, iter(pieces * 10_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module.os, "write", lambda fd, content: write(fd, content[: next(sizes)]))
        log = EventLog(path, time.time())
        for step in range(1, 40):
            log.record_step(1 / step, 0.1, 0.001, 1.0, step)
            log.emit("heartbeat", step=step)
        log.flush()
    history = read(path)
    assert history.losses == array("d", [1 / step for step in range(1, 40)]) and not history.damage


def test_a_disk_that_fills_within_a_line_leaves_a_log_that_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    write_log(path, steps(1, [5.0]))
    log, write = EventLog(path, time.time()), os.write

    def write_part(fd: int, content: bytes) -> int:
        if len(content) < 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, content[:20])

    monkeypatch.setattr(log_module.os, "write", write_part)
    with pytest.raises(LogError, match="No space left"):
        log.emit("heartbeat", step=1)
    monkeypatch.undo()
    log = EventLog(path, time.time())
    log.emit("run", pid=1, host="lab", start=2)
    log.flush()
    history = read(path)
    assert history.losses == array("d", [5.0]) and len(history.runs) == 1 and not history.damage


# --- runs that continue -----------------------------------------------------------------------------

UNREADABLE = {
    "missing": lambda path: path.unlink(),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\x00\xff" * 100 + b"\n"),
}


@pytest.mark.parametrize("damage", UNREADABLE.values(), ids=UNREADABLE)
def test_a_run_whose_log_was_lost_is_not_resumed_and_keeps_its_checkpoints(tmp_path: Path, damage: Any) -> None:
    run = make_run(tmp_path, steps=10)
    assert launch(run).wait() == 0
    kept = sorted(run.checkpoints_dir.rglob("*"))
    damage(run.events_path)
    assert launch(run).wait() == 1
    ended = find_ending(run, read(run.events_path))
    assert ended and ended["reason"] == "crashed" and f"run {run.id} cannot be resumed: " in ended["detail"]
    assert "Restore" in ended["detail"] and sorted(run.checkpoints_dir.rglob("*")) == kept
    with pytest.raises(UserError, match="cannot be resumed"):
        fork_run(run, {"steps": 20})


def test_a_log_without_its_last_lines_is_continued_from_the_checkpoint_and_the_gap_is_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=20)
    assert launch(run).wait() == 0
    lines = run.events_path.read_bytes().splitlines(keepends=True)
    last = next(i for i, line in enumerate(lines) if b'"kind":"steps"' in line)
    first_step = json.loads(lines[last])["first_step"]
    run.events_path.write_bytes(b"".join(lines[:last]))
    assert launch(run).wait() == 0
    history = read_resumable_history(run)
    assert history.step == 20 and history.missing == [range(first_step, 21)]
    assert history.damage.startswith("steps 1–20 could not be read")


def test_a_damaged_run_is_listed_with_its_problem_among_the_others(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, steps=10) for _ in range(4)]
    runs[0].events_path.unlink()
    runs[0].events_path.mkdir()
    write_log(runs[1].events_path, {"v": 1, "t": 1.0, "kind": "resumed", "from_step": -9, "reason": "x"})
    config = json.loads(runs[2].config_path.read_text())
    runs[2].config_path.write_text(json.dumps(config | {"created_at": 1e300}))
    board = WatchedRuns(tmp_path / "results")
    problems = {watch.run.id: (watch.config, watch.problem)[1] for watch in board.refresh()}
    assert "not a regular file" in problems[runs[0].id] and "1 line" in problems[runs[1].id]
    assert "is damaged or was edited" in problems[runs[2].id] and problems[runs[3].id] == ""


def test_the_number_of_a_checkpoint_lengthens_a_history_within_bounds() -> None:
    history = History()
    history.mark_missing_until(10**15)
    assert history.step == 0
    history.mark_missing_until(10)
    assert history.missing == [range(1, 11)]
