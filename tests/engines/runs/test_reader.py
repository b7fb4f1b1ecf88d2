"""The reader: complete lines however they arrive, garbage counted, truncation and newer schemas detected."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.runs.history import History
from engines.runs.reader import EventReader

LINE = b'{"v":1,"t":0.5,"kind":"heartbeat","step":%d}\n'


def steps_of(reader: EventReader) -> list[int]:
    return [event["step"] for _, event in reader.poll()]


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(0, 400), max_size=10))
def test_lines_split_anywhere_are_read_completely(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    path = tmp_path_factory.mktemp("reader") / "events.jsonl"
    content = b"".join(LINE % step for step in range(8))
    reader = EventReader(path)
    seen: list[int] = []
    for cut in [*sorted(cuts), len(content)]:
        path.write_bytes(content[:cut])
        seen += steps_of(reader)
    assert seen == list(range(8)) and reader.malformed == 0 and reader.truncations == 0


@settings(deadline=None, max_examples=100)
@given(garbage=st.binary(max_size=200))
def test_garbage_is_skipped_and_counted(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    path = tmp_path_factory.mktemp("reader") / "events.jsonl"
    path.write_bytes(LINE % 1 + garbage + b"\n" + LINE % 2)
    reader = EventReader(path)
    assert steps_of(reader) == [1, 2]
    assert reader.malformed == len([line for line in garbage.split(b"\n") if line.strip()])


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=200)
@given(
    kind=st.sampled_from(["steps", "eval", "phase", "resumed", "ended", "control", "run", "guard", "what"]),
    fields=st.dictionaries(
        st.sampled_from(["step", "losses", "lr", "seconds", "grad_norms", "tokens", "first_step", "from_step",
                         "phase", "nonfinite", "reason", "verb"]), json_values,
    ),
)  # fmt: skip
def test_no_invalid_event_stops_a_viewer(
    tmp_path_factory: pytest.TempPathFactory, kind: str, fields: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("reader") / "events.jsonl"
    path.write_text(json.dumps({"v": 1, "t": 1, "kind": kind, **fields}) + "\n")
    history = History()
    history.apply(event for _, event in EventReader(path).poll())
    assert history.step >= 0 and history.tokens_per_second() >= 0


def test_a_missing_file_has_no_events_yet(tmp_path: Path) -> None:
    assert steps_of(EventReader(tmp_path / "none")) == []


def test_a_truncated_file_is_read_from_its_beginning_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINE % 1 + LINE % 2)
    reader = EventReader(path)
    assert steps_of(reader) == [1, 2]
    path.write_bytes(LINE % 7)
    assert steps_of(reader) == [7] and reader.truncations == 1


def test_a_newer_schema_is_reported_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"v":2,"t":0,"kind":"heartbeat","step":1}\n')
    reader = EventReader(path)
    assert steps_of(reader) == [] and "schema 2" in reader.newer_schema
