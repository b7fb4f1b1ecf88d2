"""Words about a run, read in a thread: telling how it ended may need its log."""

from collections.abc import Callable
from functools import partial

from rich.text import Text
from textual.widgets import Static

from engines.runs.watch import WatchedRun
from screens.shared.background import run_in_background


class RunWords(Static):
    """What `tell` says of a run, in ASCII or not."""

    def __init__(
        self,
        tell: Callable[[WatchedRun, bool], Text],
        ascii: bool,
        watch: WatchedRun | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id, markup=False)
        self._tell = tell
        self._ascii = ascii
        self._watch = watch

    def on_mount(self) -> None:
        self.show(self._watch)

    def on_show(self) -> None:
        """Nothing is read while nobody sees it."""
        self.show(self._watch)

    def show(self, watch: WatchedRun | None) -> None:
        """As it is now, or nothing."""
        self._watch = watch
        if watch is None:
            self.update("")
        elif self.is_on_screen:
            run_in_background(self, partial(self._read, watch), partial(self._take, watch))

    def _read(self, watch: WatchedRun) -> Text:
        if not watch.is_fully_read:
            watch.poll()
        return self._tell(watch, self._ascii)

    def _take(self, watch: WatchedRun, text: Text) -> None:
        if watch is self._watch and text != self.content:
            self.update(text)
