"""Corrections of Textual that apply to all widgets, not only to subclasses in this app."""

import contextlib
from typing import Any, ClassVar

from textual.command import CommandPalette
from textual.events import Mount
from textual.scrollbar import ScrollBar, ScrollBarRender
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


def close_palettes_of_other_modes() -> None:
    """Close a command palette if the app switched to another mode while the palette was being built.

    It looks for the screen below itself on the current mode's stack and raises IndexError there (Textual 8.2).
    """
    on_mount = CommandPalette._on_mount

    def _on_mount(palette: CommandPalette, event: Mount) -> None:
        if palette in palette.app.screen_stack:
            on_mount(palette, event)
            return
        for stack in palette.app._screen_stacks.values():
            if palette in stack:
                stack.remove(palette)
        palette.remove()

    CommandPalette._on_mount = _on_mount  # type: ignore[method-assign, assignment]


class AsciiScrollBarRender(ScrollBarRender):
    """A scrollbar without the block characters at the ends of its thumb."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "]
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "]


def choose_scroll_bars(ascii: bool) -> None:
    """Draw all scrollbars with or without block characters."""
    ScrollBar.renderer = AsciiScrollBarRender if ascii else ScrollBarRender
