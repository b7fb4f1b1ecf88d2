"""JSON: values are read back by every parser, and nonfinite numbers are named."""

import json
import math
from typing import Any, NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from engines.output.json_text import to_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def refuse(word: str) -> Any:
    raise AssertionError(f"{word} is not JSON")


def restore(value: Any, notes: Any = None) -> Any:
    """Put back the numbers that `nonfinite` names."""
    if isinstance(value, dict):
        own = value.pop("nonfinite", {})
        return {name: restore(item, own.get(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [restore(item, (notes or {}).get(str(index))) for index, item in enumerate(value)]
    return float(notes) if value is None and notes else value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[n], other[n]) for n in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


@given(VALUES.filter(lambda value: "nonfinite" not in repr(value)))
@example([math.nan, {"a": [1.0, [math.inf]]}, "\x7f\x9b\u202e\ud800"])
def test_values_are_read_back_and_nonfinite_numbers_are_named(value: Any) -> None:
    text = to_json({"value": value})
    assert text.isascii() and text.isprintable()
    assert same(restore(json.loads(text, parse_constant=refuse)), {"value": value})


def test_nonfinite_numbers_are_written_as_in_the_event_log() -> None:
    assert to_json({"loss": math.nan, "row": [1.0, -math.inf]}) == (
        '{"loss": null, "row": [1.0, null], "nonfinite": {"loss": "nan", "row": {"1": "-inf"}}}'
    )


def test_an_existing_nonfinite_entry_is_kept() -> None:
    value = {"lr": None, "loss": math.nan, "nonfinite": {"lr": "inf"}}
    assert json.loads(to_json(value))["nonfinite"] == {"lr": "inf", "loss": "nan"}


def test_named_tuples_become_lists() -> None:
    class Pair(NamedTuple):
        a: float
        b: float

    assert json.loads(to_json({"pair": Pair(1.0, math.nan)})) == {
        "pair": [1.0, None],
        "nonfinite": {"pair": {"1": "nan"}},
    }
