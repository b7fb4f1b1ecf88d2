"""Corrections of Textual that hold for all of its widgets, our subclasses or not."""

import contextlib
from typing import Any

from textual.widgets import OptionList


def ignore_page_keys_before_layout() -> None:
    """Page keys raise KeyError in a list of options that is not laid out yet, or has no room: there is no page.

    A fast typist meets it in the command palette, in the drop-down lists of the form and in the picker (Textual 8.2).
    """
    move_page = OptionList._move_page

    def _move_page(options: OptionList, *direction: Any) -> None:
        with contextlib.suppress(KeyError):
            move_page(options, *direction)

    OptionList._move_page = _move_page  # type: ignore[assignment, method-assign]
