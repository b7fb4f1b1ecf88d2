"""The events that a run records: one schema for `events.jsonl`, `--json` and every viewer.

An event is a JSON object on one line. Every event has `v` (schema version), `t` (seconds since the
run's first start) and `kind`; `KINDS` lists the other fields. JSON has no NaN: a number that is not finite is
`null`, and `nonfinite` names it.

A line of a log ends with `"n":<number of the line>,"crc":"<8 hex digits>"}`. `crc` is the CRC-32 (as in zlib) of all bytes
of the line before `,"crc"`: a changed bit is detected in the line, a lost line by the numbers of the others. Logs of version
0.1 have neither and are read without this check; after the first line that has them, a line without them is damaged.

`gpus` of `system` has an object for each GPU that a run on GPUs may use: `name`, `utilisation_percent` (null under MIG),
`memory_used_bytes`, `memory_total_bytes`, `power_watts`, `power_limit_watts`, `temperature_celsius`; null is what the
driver does not report.
"""

import json
import math
import re
import sys
import zlib
from collections.abc import Mapping
from typing import Any

VERSION = 1
Event = dict[str, Any]

_MAX_INTEGER = 2**63 - 1  # no file size, clock or counter reaches it
_WHOLE_NUMBERS = (-_MAX_INTEGER, _MAX_INTEGER)
_NUMBERS = (-sys.float_info.max, sys.float_info.max)
_MAX_STEPS = 2**53  # floats represent all integers up to here
_MAX_SECONDS = 1e10  # 300 years
_END_OF_TIME = 253_402_300_800  # Unix time of the year 10000, the limit of calendar functions

NUMBER = (int, float)
MAYBE_NUMBER = (int, float, type(None))

# kind -> field -> the JSON types it may have
KINDS: dict[str, dict[str, tuple[type, ...]]] = {
    "run": {"pid": (int,), "host": (str,), "start": (int,)},
    "phase": {"phase": (str,), "done": MAYBE_NUMBER, "total": MAYBE_NUMBER},
    "note": {"message": (str,)},
    "engine": {"choices": (list,), "gpu": (str, type(None)), "flops_per_token": (int,), "peak_flops": MAYBE_NUMBER},
    "steps": {"first_step": (int,), "losses": (list,), "lr": (list,), "seconds": (list,), "grad_norms": (list,), "tokens": (int,), "progress": (list, type(None))},
    "eval": {"step": (int,), "loss": MAYBE_NUMBER, "bpb": MAYBE_NUMBER, "tokens": (int,), "bytes": (int,), "seconds": NUMBER, "best": (bool,), "floor_bpb": MAYBE_NUMBER, "floor_error": MAYBE_NUMBER},
    "sample": {"step": (int,), "prompt": (str,), "text": (str,)},
    "guard": {"rule": (str,), "step": (int,), "action": (str,), "value": MAYBE_NUMBER, "threshold": MAYBE_NUMBER, "hint": (str,)},
    "system": {"rss_bytes": (int, type(None)), "cpu_percent": MAYBE_NUMBER, "disk_free_bytes": (int, type(None)), "gpus": (list,)},
    "checkpoint": {"step": (int,), "path": (str,), "bytes": (int,), "seconds": NUMBER, "removed": (list,)},
    "control": {"request": (str,), "verb": (str,), "outcome": (str,)},
    "heartbeat": {"step": (int,)},
    "resumed": {"from_step": (int,), "reason": (str,)},
    "ended": {"reason": (str,), "step": (int,), "exit_code": (int,), "detail": (str, type(None)), "traceback": (str, type(None))},
}  # fmt: skip

# kind -> optional field -> the JSON types it may have
OPTIONAL: dict[str, dict[str, tuple[type, ...]]] = {
    "phase": {"activity": (str,), "cell": (dict,)},
    "engine": {"torch": (str,)},
    "ended": {"tables": (list,)},
}

# field -> minimum and maximum of its numbers; also used for manifests
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("t", "seconds"), (0, _MAX_SECONDS)),
    **dict.fromkeys(("step", "from_step"), (0, _MAX_STEPS)),
    "first_step": (1, _MAX_STEPS),
    "created_at": (0, _END_OF_TIME),
    **dict.fromkeys(
        ("tokens", "bytes", "steps", "pid", "start", "done", "total", "rung", "cpu_percent", "rss_bytes", "disk_free_bytes",
         "flops_per_token", "peak_flops", "parameters", "vocab_size", "train_tokens", "val_tokens"),
        (0, _MAX_INTEGER),
    ),
}  # fmt: skip

# field -> fields of its object, or of the objects in its list
OBJECTS: dict[str, dict[str, tuple[type, ...]]] = {
    "choices": {"setting": (str,), "value": (str, int, float), "why": (str,)},
    "gpus": dict.fromkeys(
        ("utilisation_percent", "memory_used_bytes", "memory_total_bytes", "power_watts", "power_limit_watts", "temperature_celsius"),
        MAYBE_NUMBER,
    ),
    "cell": {"run": (str, type(None)), "state": (str,), "cell": (str,), "seed": (int,), "rung": (int,), "val_bpb": MAYBE_NUMBER, "seconds": MAYBE_NUMBER, "detail": (str, type(None))},
}  # fmt: skip

_CHECKSUM = re.compile(rb',"n":([1-9][0-9]{0,17}),"crc":"([0-9a-f]{8})"}\Z')
_CHECKSUM_LENGTH = 48  # at most
_CRC_LENGTH = len(',"crc":"00000000"}')
_NONFINITE = ("nan", "inf", "-inf")

_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False)


class NewerSchema(ValueError):
    """The line was written by a newer version of this program."""


def encode(event: Mapping[str, Any]) -> bytes:
    """Return one line of JSON, newline included, without a checksum."""
    try:
        text = _encoder.encode(event)
    except ValueError:  # it contains NaN or infinity, which is rare
        text = _encoder.encode(_without_nonfinite(event))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def encode_line(event: Mapping[str, Any], number: int) -> bytes:
    """Return line `number` of a log, counted from 1, with its checksum and newline."""
    content = b'%b,"n":%d' % (encode(event)[:-2], number)
    return b'%b,"crc":"%08x"}\n' % (content, zlib.crc32(content))


def parse_line_number(line: bytes) -> int:
    """Return the number of a log's line without its newline; 0 if it has none or does not match its checksum."""
    found = _CHECKSUM.search(line, max(0, len(line) - _CHECKSUM_LENGTH))
    return int(found[1]) if found and found[2] == b"%08x" % zlib.crc32(line[:-_CRC_LENGTH]) else 0


def decode(line: bytes) -> Event | None:
    """Return the event of a line; None if the line is damaged. Raises NewerSchema if a newer version wrote it.

    A missing field that may be null is null. `n` is in the event only if the checksum matches.
    """
    number = parse_line_number(line)
    if not number and _CHECKSUM.search(line, max(0, len(line) - _CHECKSUM_LENGTH)):
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # RecursionError: brackets nested too deep
        return None
    if not isinstance(event, dict) or type(event.get("v")) is not int or (not number and event.keys() & {"n", "crc"}):
        return None
    if event["v"] > VERSION:
        raise NewerSchema(f"events of schema {event['v']}; this version reads up to {VERSION}")
    event.pop("crc", None)
    return event if _is_event(event) else None


def _is_event(event: Event) -> bool:
    """Return whether the object has the fields of its kind, after adding missing ones as null."""
    kind = event.get("kind")
    fields = KINDS.get(kind) if isinstance(kind, str) else None
    if fields is None or not _fits("t", event.get("t"), NUMBER):
        return False
    for name in fields.keys() - event.keys():
        event[name] = None
    for name in OBJECTS.keys() & event.keys():
        found = event[name]
        if not all(has_fields(one, OBJECTS[name]) for one in (found if isinstance(found, list) else [found])):
            return False
    if not has_fields(event, fields):
        return False
    optional = OPTIONAL.get(str(kind), {})
    return not optional or has_fields(event, {name: types for name, types in optional.items() if name in event})


def has_fields(value: Any, fields: Mapping[str, tuple[type, ...]]) -> bool:
    """Return whether a value is a JSON object with these fields, and each number within its range."""
    return isinstance(value, dict) and all(_fits(name, value.get(name), types) for name, types in fields.items())


def _fits(name: str, value: Any, types: tuple[type, ...]) -> bool:
    """Return whether a value has one of the types; a number must also be finite and within the range of its field."""
    kind = type(value)
    if kind not in types:
        return False
    if kind is int:
        minimum, maximum = RANGES.get(name, _WHOLE_NUMBERS)
    elif kind is float:
        minimum, maximum = RANGES.get(name, _NUMBERS)
    else:
        return True
    return bool(minimum <= value <= maximum)


def decode_column(event: Event, name: str) -> list[float]:
    """Return a column of a `steps` event with its NaNs and infinities restored. Raises ValueError if that fails."""
    values: list[float] = event[name]
    words = event.get("nonfinite", {}).get(name, {})
    if not words:
        return values
    values = list(values)
    for place, word in words.items():
        if word not in _NONFINITE or values[int(place)] is not None:
            raise ValueError(f"{name} {place} is not a number that JSON cannot hold")
        values[int(place)] = float(word)
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
