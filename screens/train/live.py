"""The live view of a run: its chart, panel and tabs, updated from its directory four times per second."""

from functools import partial

from rich.markup import escape
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static, TabbedContent, TabPane

from engines.runs.watch import WatchedRun
from screens.chart import Chart
from screens.shared.background import is_busy, run_in_background
from screens.shared.curves import SLICE_PAUSE, RunCurves, build_run_chart
from screens.shared.guard_table import render_guards
from screens.train.inspector import Inspector
from screens.train.panel import RunPanel
from screens.train.status_text import render_banner, render_phases, render_summary
from screens.train.tab_texts import render_events, render_log, render_samples

POLL_INTERVAL = 0.25  # seconds


class LiveView(Vertical):
    """Shows the run that was opened last. Only what has changed since the last poll is rendered again."""

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self._curves: RunCurves | None = None
        self._shown: dict[str, object] | None = None  # the counts of events that are on the screen
        self._reported_rules: set[str] = set()  # guards that a toast has reported
        self.run_watch: WatchedRun | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="banner", markup=False)
        yield Static(id="phases", markup=False)
        with Horizontal(id="upper"):
            yield build_run_chart(self._ascii, "chart")
            yield RunPanel(self._ascii, id="panel", classes="pane")
        yield Static(id="summary", markup=False)
        with TabbedContent(id="tabs"):
            for name in ("samples", "guards", "events", "log"):
                with TabPane(name.capitalize(), id=name), VerticalScroll():
                    yield Static(id=f"{name}-text", markup=False)
            with TabPane("Inspector", id="inspector"):
                yield Inspector(self._ascii)

    def on_mount(self) -> None:
        self._timer = self.set_interval(POLL_INTERVAL, self.poll)

    @property
    def is_loaded(self) -> bool:
        """True once the run has been read and shown."""
        return self._shown is not None

    def open_run(self, watch: WatchedRun) -> None:
        """Show this run from its first step. A long log is read in a thread."""
        self.run_watch = watch
        self._shown = None
        chart = self.query_one("#chart", Chart)
        chart.clear()
        chart.border_title = escape(f"{watch.run.id}: reading ...")
        self._curves = RunCurves(chart, self._ascii)
        run_in_background(self, watch.poll, lambda _: self._show_opened(watch))

    def _show_opened(self, watch: WatchedRun) -> None:
        if watch is self.run_watch:
            self._reported_rules = {event["rule"] for event in watch.history.guards}
            self._show_polled(watch)

    def poll(self) -> None:
        """Read what has been logged since the last poll, unless a thread is still reading."""
        watch = self.run_watch
        if watch and self.is_on_screen and not is_busy(self):
            run_in_background(self, partial(_poll, watch), lambda _: self._show_polled(watch))

    def _show_polled(self, watch: WatchedRun) -> None:
        """Show a run that was polled; wait for the next poll if another thread is reading it."""
        if watch is self.run_watch and watch.lock.acquire(blocking=False):
            try:
                self._show(watch)
            finally:
                watch.lock.release()

    def show_tab(self, name: str) -> None:
        """Open a tab by its id: samples, guards, events, log or inspector."""
        self.query_one(TabbedContent).active = name

    def on_tabbed_content_tab_activated(self, message: TabbedContent.TabActivated) -> None:
        self.set_class(message.pane.id == "inspector", "-inspecting")  # gives it more room than a text
        self._inspect_if_open()

    def _show(self, watch: WatchedRun) -> None:
        before, self._shown = self._shown, count_events(watch)
        changed = {name for name, count in self._shown.items() if before is None or before[name] != count}
        is_starting = watch.state == "starting" or (watch.is_live and not watch.history.step)
        self._update_line("phases", render_phases(watch, self._ascii) if is_starting else Text())
        if not changed:
            return
        self._extend_chart(watch)
        self._update_line("banner", render_banner(watch, self._ascii))
        self.query_one(RunPanel).show_run(watch)
        self._update("summary", render_summary(watch, self._ascii))
        self._update_tabs(watch, changed)

    def _extend_chart(self, watch: WatchedRun) -> None:
        """Add new steps to the chart, in slices between which keys are handled."""
        if self._curves and watch is self.run_watch and not self._curves.update(watch):
            self.set_timer(SLICE_PAUSE, partial(self._extend_chart, watch))

    def _update_tabs(self, watch: WatchedRun, changed: set[str]) -> None:
        """Update the tabs whose events have changed: to lay out a long text takes time."""
        if "samples" in changed:
            self._update("samples-text", render_samples(watch))
        if "guards" in changed:
            self._report_guards(watch)
            self._update("guards-text", render_guards(watch, self._ascii))
        if changed & {"evals", "guards", "checkpoints", "starts", "rewinds", "state"}:
            self._update("events-text", render_events(watch))
        if changed & {"starts", "state", "phases"}:
            self._update("log-text", render_log(watch))
        if "checkpoints" in changed:
            self._inspect_if_open()

    def _report_guards(self, watch: WatchedRun) -> None:
        """Show one toast for each rule that has done more than warn."""
        for event in watch.history.guards:
            if event["action"] != "warn" and event["rule"] not in self._reported_rules:
                self._reported_rules.add(event["rule"])
                self.notify(f"Guard {event['rule']} at step {event['step']:,}: {event['action']}", severity="error")

    def _inspect_if_open(self) -> None:
        if self.run_watch and self.query_one(TabbedContent).active == "inspector":
            self.query_one(Inspector).inspect_run(self.run_watch)

    def _update(self, id: str, text: Text) -> None:
        static = self.query_one(f"#{id}", Static)
        if static.content != text:
            static.update(text)

    def _update_line(self, id: str, text: Text) -> None:
        """Update a line that takes no room while it is empty."""
        self.query_one(f"#{id}").display = bool(text)
        self._update(id, text)


def _poll(watch: WatchedRun) -> None:
    if watch.needs_poll() or not watch.is_fully_read:
        watch.poll()


def count_events(watch: WatchedRun) -> dict[str, object]:
    """Return, for each part of the view, a value that changes whenever the part has to be updated."""
    history = watch.history
    return {
        "history": id(history),
        "steps": history.step,
        "rewinds": len(history.rewinds),
        "evals": len(history.evals),
        "samples": (len(history.samples), history.samples[-1]["t"] if history.samples else 0),
        "guards": len(history.guards),
        "checkpoints": (len(history.checkpoints), history.checkpoints[-1]["step"] if history.checkpoints else 0),
        "starts": len(history.runs),
        "phases": len(history.phases),
        "system": history.system["t"] if history.system else 0,
        "state": (watch.state, watch.problem),
    }
