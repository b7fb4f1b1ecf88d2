"""Help: every key that works at the moment, over the screen, generated from the bindings and their tooltips."""

from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from rich.table import Table
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from screens.widgets.dialog import Dialog


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
    """The keys that work now: those of the focused widget, of the screen, of the whole app, then Textual's own."""
    groups: dict[str, list[ActiveBinding]] = {}
    for active in screen.active_bindings.values():
        if not active.binding.system:
            groups.setdefault(_title(active), []).append(active)
    known = groups.pop(_OTHERS, [])
    for members in groups.values():
        members.sort(key=lambda active: not active.binding.id)  # the app's own first
    ordered = [*groups.items(), (_OTHERS, known)] if known else list(groups.items())
    return [KeyGroup(title, _actions(screen.app, members)) for title, members in ordered]


_OTHERS = "text and scrolling"


def _title(active: ActiveBinding) -> str:
    """Which part of the screen takes the key; a binding without an id is not declared by this app."""
    if isinstance(active.node, App):
        return "everywhere"
    if not active.binding.id:
        return _OTHERS
    return "this screen" if isinstance(active.node, Screen) else _words(type(active.node).__name__)


def _words(name: str) -> str:
    """A class name as words: TokenView becomes token view."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def _actions(app: App[object], members: Iterable[ActiveBinding]) -> list[KeyHelp]:
    """One line per action, with all of its keys."""
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
    """Scrolls; the screen behind stays as it is."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen #help { width: 100; max-width: 94%; height: auto; max-height: 90%; background: $surface; }
    HelpScreen.-short #help, HelpScreen.-tiny #help {
        width: 100%; max-width: 100%; height: 100%; max-height: 100%; border: none; padding: 0;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1", "dismiss", "Close", id="help.close", tooltip="Back to the screen"),
    ]

    def __init__(self, groups: list[KeyGroup], ascii: bool) -> None:
        super().__init__()
        self._groups = groups
        self._ascii = ascii

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help", classes="pane") as box:
            box.border_title = "keys"
            box.border_subtitle = "arrows scroll, esc closes" if self._ascii else "↑↓ scroll, esc closes"
            yield Static(self._table(), id="keys")

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column()
        for number, group in enumerate(self._groups):
            if number:
                table.add_row()
            table.add_row("", Text(group.title, "bold underline"))
            for action in group.actions:
                table.add_row(Text(action.keys, "bold"), Text(action.name), Text(action.explanation, "dim"))
        return table
