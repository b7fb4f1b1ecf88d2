"""One checkpoint's answer, or two side by side, and what their shades mean."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from screens.sample.generation import SpeechPane
from screens.sample.legend import Legend
from screens.widgets.token_view import TokenView


class Speeches(Vertical):
    """Knows which pane keys are for, and that there is one cursor."""

    def __init__(self, ascii: bool, monochrome: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self.first = SpeechPane(ascii, monochrome, id="first")
        self.second = SpeechPane(ascii, monochrome, id="second")
        self.second.display = False
        self._legend = Legend(self.first)
        self._legend.display = False
        self._last = self.first  # that had the focus

    def compose(self) -> ComposeResult:
        with Horizontal(id="panes"):
            yield self.first
            yield self.second
        yield self._legend

    @property
    def both(self) -> tuple[SpeechPane, SpeechPane]:
        """Shown or not."""
        return self.first, self.second

    @property
    def shown(self) -> list[SpeechPane]:
        return [pane for pane in self.both if pane.display]

    @property
    def target(self) -> SpeechPane:
        """The pane with the focus, or that had it last."""
        return self._last if self._last.display else self.first

    @property
    def requests(self) -> list[int]:
        """Those that are being answered."""
        return [pane.request for pane in self.both if pane.request is not None]

    @property
    def heat(self) -> bool:
        return self.first.view.heat

    def shade(self, heat: bool) -> None:
        for pane in self.both:
            pane.view.heat = heat
        self._legend.display = heat

    @property
    def has_cursor(self) -> bool:
        return any(pane.view.cursor is not None for pane in self.both)

    def drop_cursors(self, besides: TokenView | None = None) -> None:
        for pane in self.both:
            if pane.view is not besides:
                pane.view.cursor = None

    def on_descendant_focus(self) -> None:
        self._last = next((pane for pane in self.both if pane.has_focus_within), self._last)
