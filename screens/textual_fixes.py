"""Corrections of Textual that hold for all of its widgets, our subclasses or not."""

import contextlib
from typing import Any

from textual.widgets import OptionList


def ignore_page_keys_before_layout() -> None:
    """Ignore page keys in an option list that is not laid out yet or has no room, where they raise KeyError.

    Fast typing triggers it in the command palette, the drop-down lists of the form and the picker (Textual 8.2).
    """
    move_page = OptionList._move_page

    def _move_page(options: OptionList, *direction: Any) -> None:
        with contextlib.suppress(KeyError):
            move_page(options, *direction)

    OptionList._move_page = _move_page  # type: ignore[assignment, method-assign]
