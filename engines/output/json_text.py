"""JSON that every parser accepts: without NaN and infinity, and in printable ASCII."""

import json
import math
from collections.abc import Mapping
from typing import Any

_NONFINITE = "nonfinite"


def to_json(value: Any, indent: int | None = None) -> str:
    """Encode a value. A number that is not finite becomes null, and the object that holds it names it in `nonfinite`.

    `{"loss": nan, "row": [1.0, inf]}` becomes
    `{"loss": null, "row": [1.0, null], "nonfinite": {"loss": "nan", "row": {"1": "inf"}}}`, as in `events.jsonl`.
    """
    try:
        text = json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:  # it contains NaN or infinity, which is rare
        text = json.dumps(without_nonfinite(value), indent=indent, allow_nan=False)
    return text.replace("\x7f", "\\u007f")  # the only control character that json does not escape


def without_nonfinite(value: Any) -> Any:
    """Return a copy with null in place of non-finite numbers, and `nonfinite` in the objects that contain them."""
    return _clean(value)[0]


def _clean(value: Any) -> tuple[Any, Any]:
    """Return the copy, and the entry for its parent's `nonfinite`: a word, or words by index of a list."""
    if isinstance(value, float) and not math.isfinite(value):
        return None, str(value)
    if isinstance(value, Mapping):
        found = {name: _clean(item) for name, item in value.items()}
        nonfinite = {str(name): note for name, (_, note) in found.items() if note}
        clean = {name: item for name, (item, _) in found.items()}
        return (clean | {_NONFINITE: value.get(_NONFINITE, {}) | nonfinite} if nonfinite else clean), None
    if isinstance(value, list | tuple):
        items = [_clean(item) for item in value]
        return [item for item, _ in items], {str(index): note for index, (_, note) in enumerate(items) if note}
    return value, None
