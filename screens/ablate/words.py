"""How the ablate screen writes times, rates and characters."""

import time

from screens.widgets.wrapping import shown

_ASCII = str.maketrans(
    {"·": "-", "×": "x", "±": "+-", "–": "-", "…": ".", "━": "#", "╌": ".", "●": "o", "│": "|", "✕": "x", "←": "<"}
)


def plain(text: str, ascii: bool) -> str:
    """The same in characters that do nothing but stand there; where that is wanted, in those every terminal has."""
    text = shown(text)
    return text.translate(_ASCII) if ascii else text


def duration(seconds: float | None) -> str:
    """In the unit that suits it."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def age(created_at: float) -> str:
    return duration(max(0.0, time.time() - created_at)) if created_at else "–"


def bar(share: float, width: int) -> str:
    done = round(min(1.0, max(0.0, share)) * width)
    return "━" * done + "╌" * (width - done)
