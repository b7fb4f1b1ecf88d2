"""Format numbers, states and foreign text for the screens, with or without characters outside of ASCII."""

import math
from collections.abc import Sequence

from engines.output.terminal_text import replace_symbols
from engines.output.units import NOT_KNOWN
from engines.runs import liveness
from engines.runs.watch import WatchedRun
from screens.widgets.wrapping import shown

_ASCII_STATES = {
    "starting": "o", "running": "*", "paused": "=", "stuck": "?",
    "stopped": "#", "halted": "^", "finished": "+", "crashed": "x", "killed": "X",
}  # fmt: skip
_GUARD_GLYPHS = {"warn": "▲", "halt": "■", "rollback": "✕"}
_ASCII_GUARD_GLYPHS = {"warn": "!", "halt": "#", "rollback": "x"}
_ABBREVIATIONS = {
    "gpt": "GPT", "kv": "KV", "lm": "LM", "lr": "LR", "qk": "QK", "rmsnorm": "RMSNorm", "val": "validation",
}  # fmt: skip
_SPARKS = "▁▂▃▄▅▆▇█"
_ASCII_SPARKS = "_.-~=+*#"


def format_text(text: str, ascii: bool) -> str:
    """Return foreign text without control characters; if `ascii`, with our symbols replaced too."""
    return replace_symbols(shown(text), ascii)


def format_label(name: str) -> str:
    """Return the name of a setting or group in sentence case, with abbreviations as they are usually written."""
    words = " ".join(_ABBREVIATIONS.get(word, word) for word in name.split())
    return words[:1].upper() + words[1:]


def format_state(watch: WatchedRun, ascii: bool) -> str:
    """Return a run's state as a glyph and a word, such as `● RUNNING`."""
    return f"{format_state_glyph(watch, ascii)} {watch.state.upper()}"


def format_state_glyph(watch: WatchedRun, ascii: bool) -> str:
    return (_ASCII_STATES if ascii else liveness.GLYPHS)[watch.state]


def format_guard_glyph(action: str, ascii: bool) -> str:
    """Return the glyph of what a guard did: `warn`, `halt` or `rollback`."""
    return (_ASCII_GUARD_GLYPHS if ascii else _GUARD_GLYPHS).get(action, "?")


def format_decimal(value: float | None, digits: int = 4) -> str:
    """Return a number with fixed decimals; `–` if it is unknown, `nan` or `inf` if it is not finite."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN if value is None else str(value)
    return f"{value:.{digits}f}"


def format_count(value: float | None) -> str:
    """Return a number with three or four digits and k, M or G; `–` if it is unknown."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}" if value < 100 * size else f"{value / size:.0f}{unit}"
    return f"{value:.0f}"


def format_sparkline(values: Sequence[float], ascii: bool) -> str:
    """Return one bar per value, scaled from the smallest to the largest; `!` for values that are not finite."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    bars = _ASCII_SPARKS if ascii else _SPARKS
    low, high = min(finite), max(finite)
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    return "".join(bars[round((value - low) * scale)] if math.isfinite(value) else "!" for value in values)


def format_bar(share: float, width: int, ascii: bool) -> str:
    """Return a progress bar of `width` cells for a share between 0 and 1."""
    done = round(min(1.0, max(0.0, share)) * width)
    return replace_symbols("━" * done + "╌" * (width - done), ascii)
