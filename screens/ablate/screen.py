"""The ablate screen: studies of variants, and how far each has come."""

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Footer, Static

from screens.widgets.header import LabHeader

if TYPE_CHECKING:
    from screens.app import LabApp

_HOW = """No study yet.

A study trains variants of one run with the same seeds and tells which differences are more than noise:

    nanochat-tui --no-ui ablate --axis lr=0.01,0.03,0.1 --seeds 3

Without an axis it compares the four bigrams: tied and untied head, with and without RMSNorm."""


class AblateScreen(Screen[None]):
    """Studies at the left, the chosen one at the right."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New study", id="ablate.new", tooltip="How a study is started"),
    ]

    def compose(self) -> ComposeResult:
        yield LabHeader("ablate", cast("LabApp", self.app).lab)
        with Vertical(id="studies", classes="pane"):
            yield Static(Text(_HOW), id="studies-text")
        yield Footer()

    def on_runs_refreshed(self) -> None:
        self.query_one(LabHeader).look_again()

    def action_new(self) -> None:
        self.notify("studies start from the command line so far: nanochat-tui --no-ui ablate --help")
