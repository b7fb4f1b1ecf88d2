"""The two views of the train screen: the form of a new run, and the live view of a run."""

import asyncio
from collections.abc import Mapping
from typing import Any

from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from engines.runs.watch import WatchedRun
from screens.chart import Chart
from screens.train.live import LiveView
from screens.train.new_run import NewRun

FORM, LIVE = "new", "live"  # ids of the views


class RunViews(ContentSwitcher):
    """Shows one view, and builds it when it is first shown: the form takes long, and often only a run is watched."""

    def __init__(self, initial: str, defaults: Mapping[str, Any], ascii: bool) -> None:
        """`defaults`: the settings that a form begins with, unless others are requested."""
        super().__init__(id="content", initial=initial)
        self._first = initial
        self._defaults = defaults
        self._ascii = ascii
        self._lock = asyncio.Lock()  # keys in quick succession may request two views at once

    def compose(self) -> ComposeResult:
        yield self._build(self._first)

    @property
    def live(self) -> LiveView | None:
        """The live view, shown or not; None if it has not been built yet."""
        return next(iter(self.query(LiveView)), None)

    @property
    def known_run(self) -> WatchedRun | None:
        """The run in the live view, shown or not."""
        return self.live.run_watch if self.live else None

    @property
    def visible_run(self) -> WatchedRun | None:
        """The run in the live view, if that is shown."""
        return self.known_run if self.current == LIVE else None

    def focus_main_widget(self) -> None:
        """Focus the form, or the chart of the live view."""
        self.screen.query_one("#form" if self.current == FORM else Chart).focus()

    async def show(self, view: str) -> None:
        """Show a view, built if it has not been shown before."""
        async with self._lock:
            await self._show(view)

    async def show_run(self, watch: WatchedRun) -> None:
        """Show a run in the live view."""
        await self.show(LIVE)
        self.query_one(LiveView).open_run(watch)

    async def show_form(self, given: Mapping[str, Any]) -> None:
        """Show a new form that begins with these settings."""
        async with self._lock:
            self.current = None  # otherwise the new form stays hidden if the old one was visible
            await self.query(f"#{FORM}").remove()
            await self.add_content(self._build(FORM, given), id=FORM)
            await self._show(FORM)

    async def _show(self, view: str) -> None:
        if not self.query(f"#{view}"):
            await self.add_content(self._build(view), id=view)
        self.current = view
        self.focus_main_widget()

    def _build(self, view: str, given: Mapping[str, Any] | None = None) -> Widget:
        if view == LIVE:
            return LiveView(self._ascii, id=LIVE)
        return NewRun(self._defaults if given is None else given, self._ascii, id=FORM)
