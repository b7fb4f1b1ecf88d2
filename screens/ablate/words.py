"""How the ablate screen writes times, rates and characters."""

from engines.output.terminal_text import replace_symbols
from screens.widgets.wrapping import shown


def plain(text: str, ascii: bool) -> str:
    """The same in characters that do nothing but stand there; where that is wanted, in those every terminal has."""
    return replace_symbols(shown(text), ascii)


def bar(share: float, width: int) -> str:
    done = round(min(1.0, max(0.0, share)) * width)
    return "━" * done + "╌" * (width - done)
