"""Events: every event is decoded as it was encoded, also with NaN; any other line is damage."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.events import KINDS, OBJECTS, RANGES, VERSION, NewerSchema, decode, decode_column, encode

TEXT = st.text(st.characters(), max_size=20)  # halves of surrogate pairs too, as in a path that is no UTF-8
NUMBERS = st.floats() | st.integers(-(1 << 60), 1 << 60)
BY_TYPE: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-(1 << 60), 1 << 60),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: TEXT,
    bool: st.booleans(),
    list: st.lists(NUMBERS, max_size=5),
    type(None): st.none(),
}


def values(name: str, types: tuple[type, ...]) -> st.SearchStrategy[Any]:
    if name in OBJECTS:
        return st.lists(st.fixed_dictionaries({key: values(key, of) for key, of in OBJECTS[name].items()}), max_size=2)
    return st.one_of(*(of_type(name, type_) for type_ in types))


def of_type(name: str, type_: type) -> st.SearchStrategy[Any]:
    """Return a strategy for values within the range of the field."""
    if name not in RANGES or type_ not in (int, float):
        return BY_TYPE[type_]
    least, most = RANGES[name]
    if type_ is int:
        return st.integers(int(least), min(int(most), 1 << 60))
    nearest = float(most)  # may be rounded up
    return st.floats(float(least), nearest if nearest <= most else math.nextafter(nearest, 0.0))


EVENTS = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {"v": st.just(VERSION), "t": of_type("t", float), "kind": st.just(kind)}
        | {name: values(name, types) for name, types in KINDS[kind].items()}
    )
)


def heartbeat(**changed: Any) -> dict[str, Any]:
    return {"v": VERSION, "t": 0.5, "kind": "heartbeat", "step": 3, **changed}


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


@settings(deadline=None, max_examples=150)
@given(EVENTS)
def test_every_event_is_decoded_from_one_line_of_json(event: dict[str, Any]) -> None:
    line = encode(event)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    json.loads(line.decode("utf-8"), parse_constant=refuse)
    again = decode(line)
    assert again is not None and {name: again[name] for name in event if not isinstance(event[name], list)} == {
        name: value for name, value in event.items() if not isinstance(value, list)
    }
    for name, value in event.items():
        if isinstance(value, list):
            assert list(map(repr, decode_column(again, name))) == list(map(repr, value))


def test_a_nonfinite_number_is_null_and_named() -> None:
    plain = json.loads(encode({"loss": math.nan, "bpb": 1.0, "lr": [1.0, math.inf, -math.inf]}))
    assert plain["loss"] is None and plain["bpb"] == 1.0 and plain["lr"] == [1.0, None, None]
    assert plain["nonfinite"] == {"loss": "nan", "lr": {"1": "inf", "2": "-inf"}}


def test_a_path_that_is_not_utf8_is_decoded() -> None:
    event = heartbeat(path="runs/\udcff日")
    assert decode(encode(event)) == event


@settings(deadline=None, max_examples=150)
@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["v", "t", "kind", "step"]), inner),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode())
)
def test_an_invalid_line_is_not_an_event(line: bytes) -> None:
    with contextlib.suppress(NewerSchema):
        assert decode(line) is None


@pytest.mark.parametrize("name", ["v", "t", "kind", "step"])
@pytest.mark.parametrize("value", [None, True, "1", [], {}, ["heartbeat"]])
def test_an_event_with_a_value_of_the_wrong_type_is_damaged(name: str, value: object) -> None:
    assert decode(encode(heartbeat())) == heartbeat()
    assert decode(json.dumps(heartbeat(**{name: value})).encode()) is None


@pytest.mark.parametrize("number", ["1e400", "NaN", "-Infinity", "1" + "0" * 400, "1" + "0" * 5000])
@pytest.mark.parametrize("name", ["t", "loss", "step"])
def test_a_number_out_of_range_is_damage(name: str, number: str) -> None:
    line = b'{"v":1,"t":1.0,"kind":"eval","step":3,"loss":2.5,"bpb":1.5,"tokens":9,"bytes":9,"seconds":1,"best":true}'
    assert decode(line) is not None
    fields = {"t": b'"t":1.0', "loss": b'"loss":2.5', "step": b'"step":3'}
    assert decode(line.replace(fields[name], f'"{name}":{number}'.encode())) is None


def test_a_missing_optional_field_is_null() -> None:
    event = decode(b'{"v":1,"t":1,"kind":"phase","phase":"train"}')
    assert event is not None and event["done"] is None and event["total"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "system", "rss_bytes": 1, "cpu_percent": 1, "disk_free_bytes": 1, "gpus": [7]},
        {"kind": "system", "rss_bytes": 1, "cpu_percent": 1, "disk_free_bytes": 1, "gpus": [{"power_watts": "x"}]},
        {"kind": "engine", "choices": [{"setting": "threads"}], "gpu": None, "flops_per_token": 1, "peak_flops": 1},
        {"kind": "phase", "phase": "train", "done": 1, "total": 2, "cell": "lr=1"},
    ],
)
def test_an_event_with_invalid_objects_is_damaged(fields: dict[str, Any]) -> None:
    assert decode(encode({"v": VERSION, "t": 0.5, **fields})) is None


def test_deeply_nested_brackets_are_damage() -> None:
    assert decode(b"[" * 200_000) is None


def test_a_newer_schema_raises_an_exception() -> None:
    with pytest.raises(NewerSchema, match=f"schema {VERSION + 1}"):
        decode(encode(heartbeat(v=VERSION + 1)))
