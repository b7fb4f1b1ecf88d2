"""A text about a run, rendered in a thread: how it ended may have to be read from its log."""

from collections.abc import Callable
from functools import partial

from rich.text import Text
from textual.widgets import Static

from engines.runs.watch import WatchedRun
from screens.shared.background import run_in_background


class RunText(Static):
    """The text that `render_text` returns for a run, in ASCII or not."""

    def __init__(
        self,
        render_text: Callable[[WatchedRun, bool], Text],
        ascii: bool,
        watch: WatchedRun | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id, markup=False)
        self._render_text = render_text
        self._ascii = ascii
        self._watch = watch

    def on_mount(self) -> None:
        self.show(self._watch)

    def on_show(self) -> None:
        """Read the run now that the text is visible."""
        self.show(self._watch)

    def show(self, watch: WatchedRun | None) -> None:
        """Show the text of this run as it is now, or nothing."""
        self._watch = watch
        if watch is None:
            self.update("")
        elif self.is_on_screen:
            run_in_background(self, partial(self._read, watch), partial(self._update_if_current, watch))

    def _read(self, watch: WatchedRun) -> Text:
        if not watch.is_fully_read:
            watch.poll()
        return self._render_text(watch, self._ascii)

    def _update_if_current(self, watch: WatchedRun, text: Text) -> None:
        if watch is self._watch and text != self.content:
            self.update(text)
