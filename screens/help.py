"""The help: every key that works at the moment, generated from the bindings and their tooltips."""

import itertools
import textwrap
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.screen import Screen

from screens.widgets.dialog import Dialog
from screens.widgets.lines import Lines

_WIDEST = 100  # cells of the box
_FRAME = 4  # cells of its border and padding
_SCROLLBAR = 2
_GAP = 2  # cells between columns
_NARROWEST = 20  # cells of an explanation in a column of its own


class KeyHelp(NamedTuple):
    """One action: its keys as they are displayed, its name, and what it does."""

    keys: str
    name: str
    explanation: str


class KeyGroup(NamedTuple):
    """The actions of one part of the screen."""

    title: str
    actions: list[KeyHelp]


def key_groups(screen: Screen[object]) -> list[KeyGroup]:
    """Return the keys that work now: those of the focused widget, the screen, the whole app, then Textual's own."""
    groups: dict[str, list[ActiveBinding]] = {}
    for active in screen.active_bindings.values():
        if not active.binding.system:
            groups.setdefault(_title(active), []).append(active)
    known = groups.pop(_OTHERS, [])
    for members in groups.values():
        members.sort(key=lambda active: not active.binding.id)  # the app's own first
    ordered = [*groups.items(), (_OTHERS, known)] if known else list(groups.items())
    return [KeyGroup(title, _actions(screen.app, members)) for title, members in ordered]


_OTHERS = "Text and scrolling"


def _title(active: ActiveBinding) -> str:
    """Return which part of the screen handles the key; a binding without an id is not declared by this app."""
    if isinstance(active.node, App):
        return "All screens"
    if not active.binding.id:
        return _OTHERS
    return "This screen" if isinstance(active.node, Screen) else _words(type(active.node).__name__)


def _words(name: str) -> str:
    """Convert a class name to words: TokenView becomes Token view."""
    return name[:1] + "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name[1:])


def _actions(app: App[object], members: Iterable[ActiveBinding]) -> list[KeyHelp]:
    """Return one line per action, with all of its keys."""
    found: dict[str, list[Binding]] = {}
    for active in members:
        found.setdefault(active.binding.action, []).append(active.binding)
    return [
        KeyHelp(
            " ".join(dict.fromkeys(app.get_key_display(binding) for binding in bindings)),
            bindings[0].description,
            bindings[0].tooltip,
        )
        for bindings in found.values()
    ]


class HelpScreen(Dialog[None]):
    """The help as a scrollable dialog over the screen."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen #help { width: 100; max-width: 94%; height: auto; max-height: 90%; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1", "dismiss", "Close", id="help.close", tooltip="Close the help"),
    ]

    def __init__(self, groups: list[KeyGroup], ascii: bool) -> None:
        super().__init__()
        self._groups = groups
        self._ascii = ascii

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help", classes="pane") as box:
            box.border_title = "Keys"
            box.border_subtitle = "arrows: scroll, esc: close" if self._ascii else "↑↓: scroll, esc: close"
            yield Lines(id="keys")

    def on_resize(self, event: Resize) -> None:
        """Lay out the lines for the width of the box; a rich table would take three times as long."""
        is_bare = self.has_class("-short") or self.has_class("-tiny")
        width = event.size.width if is_bare else min(_WIDEST, event.size.width * 94 // 100) - _FRAME
        lines = help_lines(self._groups, width - _SCROLLBAR)
        shown = self.query_one(Lines)
        shown.styles.height = len(lines)
        shown.show(lines)


def help_lines(groups: list[KeyGroup], width: int) -> list[Text]:
    """Render keys, name and wrapped explanation in three columns, or two if the terminal is narrow."""
    actions = [action for group in groups for action in group.actions]
    keys = max((cell_len(action.keys) for action in actions), default=0)
    names = max((cell_len(action.name) for action in actions), default=0)
    if width - keys - names - 2 * _GAP < _NARROWEST:  # too narrow for a column of names
        actions = [KeyHelp(action.keys, "", f"{action.name}: {action.explanation}".rstrip(": ")) for action in actions]
        names = -_GAP
    room = max(1, width - keys - names - 2 * _GAP)
    explained = iter(actions)
    lines: list[Text] = []
    for group in groups:
        lines += [Text(), Text(" " * (keys + _GAP)).append(group.title, "bold underline")]
        for action in itertools.islice(explained, len(group.actions)):
            for number, part in enumerate(textwrap.wrap(action.explanation, room) or [""]):
                key, name = (action.keys, action.name) if number == 0 else ("", "")
                line = Text(" " * (keys - cell_len(key)), no_wrap=True).append(f"{key}{' ' * _GAP}", "bold")
                lines.append(line.append(set_cell_size(name, names + _GAP)).append(part, "dim"))
    return lines[1:]
