"""The event log: everything recorded is read back exactly, in complete lines and few writes, or an error is raised."""

import json
import math
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.runs.history import History
from engines.runs.log import EventLog, LogError
from engines.runs.reader import EventReader

numbers = st.floats(allow_nan=True, allow_infinity=True)


def read(path: Path) -> History:
    history = History()
    history.apply(event for _, event in EventReader(path).poll())
    return history


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@settings(deadline=None, max_examples=50)
@given(steps=st.lists(st.tuples(numbers, numbers), max_size=50), flush_after=st.sets(st.integers(0, 50)))
def test_every_number_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, float]], flush_after: set[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    log = EventLog(path, time.time())
    for index, (loss, grad_norm) in enumerate(steps):
        log.record_step(loss, 0.1, 0.001, grad_norm, index + 1)
        if index in flush_after:
            log.flush()
    log.flush()
    history = read(path)
    assert all(same(a, b[0]) for a, b in zip(history.losses, steps, strict=True))
    assert all(same(a, b[1]) for a, b in zip(history.grad_norms, steps, strict=True))


def test_any_json_parser_reads_a_line_with_nan(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", time.time())
    log.record_step(math.nan, 0.1, 0.001, math.inf, 1)
    log.emit("eval", step=1, loss=-math.inf)
    log.flush()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    steps, evaluation = (json.loads(line, parse_constant=refuse) for line in lines)
    assert steps["losses"] == [None] and steps["nonfinite"] == {"losses": {"0": "nan"}, "grad_norms": {"0": "inf"}}
    assert evaluation["loss"] is None and evaluation["nonfinite"] == {"loss": "-inf"}


def test_steps_come_before_the_event_that_follows_them(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", time.time())
    log.emit("phase", phase="train", done=None, total=None)
    log.record_step(1.0, 0.1, 0.001, 1.0, 1)
    log.emit("heartbeat", step=1)
    log.flush()
    kinds = [event["kind"] for _, event in EventReader(tmp_path / "events.jsonl").poll()]
    assert kinds == ["phase", "steps", "heartbeat"]


def test_twenty_thousand_steps_need_few_writes(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", time.time())
    started = time.monotonic()
    for step in range(20_000):
        log.record_step(1.0, 0.1, 0.001, 1.0, step)
    log.flush()
    elapsed = time.monotonic() - started
    lines = (tmp_path / "events.jsonl").read_bytes().count(b"\n")
    assert lines <= 20 * elapsed + 2


def test_a_torn_line_is_ended_before_the_next_worker_writes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"v":1,"t":0,"kind":"heart')
    log = EventLog(path, time.time())
    log.emit("heartbeat", step=0)
    log.flush()
    reader = EventReader(path)
    assert [event["kind"] for _, event in reader.poll()] == ["heartbeat"]
    assert reader.malformed == 1


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    path = tmp_path / "events.jsonl"
    path.symlink_to("/dev/full")
    log = EventLog(path, time.time())
    with pytest.raises(LogError, match=r"events\.jsonl cannot be written"):
        log.emit("heartbeat", step=0)
    with pytest.raises(LogError):
        log.flush()


def test_two_threads_never_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, time.time())

    def beat() -> None:
        for step in range(300):
            log.emit("heartbeat", step=step)
            log.flush()

    thread = threading.Thread(target=beat)
    thread.start()
    for step in range(3000):
        log.record_step(float(step), 0.1, 0.001, 1.0, step)
    thread.join()
    log.flush()
    reader = EventReader(path)
    history = History()
    history.apply(event for _, event in reader.poll())
    assert reader.malformed == 0 and history.losses.tolist() == [float(step) for step in range(3000)]
