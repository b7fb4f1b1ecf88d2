"""What a run reports while it works: the one schema behind `events.jsonl`, `--json` and every viewer.

An event is a JSON object on one line. Every event has `v` (schema version), `t` (seconds since the
run's first start) and `kind`; `KINDS` tells the rest. JSON has no NaN: a number that is not finite is
`null`, and `nonfinite` names it.

`gpus` of `system` has an object for each GPU that a run on GPUs may use: `name`, `utilisation_percent` (null under MIG),
`memory_used_bytes`, `memory_total_bytes`, `power_watts`, `power_limit_watts`, `temperature_celsius`; null is what the
driver does not tell.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

VERSION = 1
Event = dict[str, Any]

_TOO_LARGE = 2**63  # for a whole number: no file, clock or counter reaches it

NUMBER = (int, float)
MAYBE_NUMBER = (int, float, type(None))

# kind -> field -> the JSON types it may have
KINDS: dict[str, dict[str, tuple[type, ...]]] = {
    "run": {"pid": (int,), "host": (str,), "start": (int,)},
    "phase": {"phase": (str,), "done": MAYBE_NUMBER, "total": MAYBE_NUMBER},
    "note": {"message": (str,)},
    "engine": {"choices": (list,), "gpu": (str, type(None)), "flops_per_token": (int,), "peak_flops": MAYBE_NUMBER},
    "steps": {"first_step": (int,), "losses": (list,), "lr": (list,), "seconds": (list,), "grad_norms": (list,), "tokens": (int,)},
    "eval": {"step": (int,), "loss": MAYBE_NUMBER, "bpb": MAYBE_NUMBER, "tokens": (int,), "bytes": (int,), "seconds": NUMBER, "best": (bool,), "floor_bpb": MAYBE_NUMBER, "floor_error": MAYBE_NUMBER},
    "sample": {"step": (int,), "prompt": (str,), "text": (str,)},
    "guard": {"rule": (str,), "step": (int,), "action": (str,), "value": MAYBE_NUMBER, "threshold": MAYBE_NUMBER, "hint": (str,)},
    "system": {"rss_bytes": (int,), "cpu_percent": NUMBER, "disk_free_bytes": (int,), "gpus": (list,)},
    "checkpoint": {"step": (int,), "path": (str,), "bytes": (int,), "seconds": NUMBER, "removed": (list,)},
    "control": {"request": (str,), "verb": (str,), "outcome": (str,)},
    "heartbeat": {"step": (int,)},
    "resumed": {"from_step": (int,), "reason": (str,)},
    "ended": {"reason": (str,), "step": (int,), "exit_code": (int,), "detail": (str, type(None)), "traceback": (str, type(None))},
}  # fmt: skip

# field -> what its objects hold, where it has any: one, or a list of them
OBJECTS: dict[str, dict[str, tuple[type, ...]]] = {
    "choices": {"setting": (str,), "value": (str, int, float), "why": (str,)},
    "gpus": dict.fromkeys(
        ("utilisation_percent", "memory_used_bytes", "memory_total_bytes", "power_watts", "power_limit_watts", "temperature_celsius"),
        MAYBE_NUMBER,
    ),
    "cell": {"run": (str, type(None)), "state": (str,), "cell": (str,), "seed": (int,), "rung": (int,), "val_bpb": MAYBE_NUMBER, "seconds": MAYBE_NUMBER, "detail": (str, type(None))},
}  # fmt: skip

_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False)


class NewerSchema(ValueError):
    """The line was written by a newer version of the lab than this one."""


def encode(event: Mapping[str, Any]) -> bytes:
    """One line, newline included."""
    try:
        text = _encoder.encode(event)
    except ValueError:  # NaN or infinity somewhere: rare, so only then look where
        text = _encoder.encode(_without_nonfinite(event))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def decode(line: bytes) -> Event | None:
    """The event of one line, or None where the line is not one. NewerSchema if it comes from a later version.

    What may be null need not be told: it is null then.
    """
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # brackets nested too deep for the parser
        return None
    if not isinstance(event, dict) or type(event.get("v")) is not int:
        return None
    if event["v"] > VERSION:
        raise NewerSchema(f"events of schema {event['v']}; this version reads up to {VERSION}")
    kind = event.get("kind")
    fields = KINDS.get(kind) if isinstance(kind, str) else None
    if fields is None or not _is_one_of(event.get("t"), NUMBER):
        return None
    event = {**dict.fromkeys(fields), **event}
    for name in OBJECTS.keys() & event.keys():
        found = event[name]
        if not all(holds(one, OBJECTS[name]) for one in (found if isinstance(found, list) else [found])):
            return None
    return event if holds(event, fields) else None


def holds(value: Any, fields: Mapping[str, tuple[type, ...]]) -> bool:
    """Whether it is a JSON object with such fields, whatever else it has."""
    return isinstance(value, dict) and all(_is_one_of(value.get(name), types) for name, types in fields.items())


def _is_one_of(value: Any, types: tuple[type, ...]) -> bool:
    """Whether it has one of the types; a number must also be one that can be reckoned with."""
    if type(value) is int:
        return int in types and abs(value) < _TOO_LARGE
    return type(value) in types and (type(value) is not float or math.isfinite(value))


def column(event: Event, name: str) -> list[float]:
    """A column of a `steps` event with its NaNs and infinities put back."""
    values: list[float] = event[name]
    for index, word in event.get("nonfinite", {}).get(name, {}).items():
        values[int(index)] = float(word)
    return values


def _without_nonfinite(event: Mapping[str, Any]) -> Event:
    clean: Event = {}
    nonfinite: dict[str, Any] = {}
    for name, value in event.items():
        if isinstance(value, list):
            bad = {str(i): str(x) for i, x in enumerate(value) if isinstance(x, float) and not math.isfinite(x)}
            clean[name] = [None if str(i) in bad else x for i, x in enumerate(value)] if bad else value
        else:
            bad = str(value) if isinstance(value, float) and not math.isfinite(value) else {}  # type: ignore[assignment]
            clean[name] = None if bad else value
        if bad:
            nonfinite[name] = bad
    return {**clean, "nonfinite": nonfinite}
