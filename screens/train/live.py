"""The live view of a run: curve, figures, guards, samples, log; read from its directory four times a second."""

from functools import partial

from rich.markup import escape
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static, TabbedContent, TabPane

from engines.runs.watch import WatchedRun
from screens.chart import Chart
from screens.shared.background import is_busy, run_in_background
from screens.shared.curves import SLICE_PAUSE, Curves
from screens.shared.formatting import format_decimal, format_state
from screens.shared.guard_table import render_guards
from screens.train import told
from screens.train.inspector import Microscope
from screens.train.panel import RunPanel

POLL_INTERVAL = 0.25  # seconds


class LiveView(Vertical):
    """Shows one run; `watch_run` takes another."""

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self._curves: Curves | None = None
        self._shown: dict[str, object] | None = None  # how much of the run stands on the screen
        self._reading = False
        self._warned: set[str] = set()  # rules
        self.watch_of_run: WatchedRun | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="banner", markup=False)
        yield Static(id="phases", markup=False)
        with Horizontal(id="upper"):
            yield Chart(id="chart", ascii=self._ascii, classes="pane")
            yield RunPanel(self._ascii, id="panel", classes="pane")
        yield Static(id="summary", markup=False)
        with TabbedContent(id="tabs"):
            for name in ("samples", "guards", "news", "log"):
                with TabPane(name, id=name), VerticalScroll():
                    yield Static(id=f"{name}-text", markup=False)
            with TabPane("microscope", id="microscope"):
                yield Microscope(self._ascii, id="inspection")

    def on_mount(self) -> None:
        self._timer = self.set_interval(POLL_INTERVAL, self.poll)

    def watch_run(self, watch: WatchedRun) -> None:
        """Show this run from its beginning. A long log is read in a thread."""
        self.watch_of_run = watch
        self._shown = None
        chart = self.query_one("#chart", Chart)
        chart.clear()
        chart.border_title = escape(f"{watch.run.id}: reading ...")
        self._curves = Curves(chart, self._ascii)
        self._reading = True
        run_in_background(self, watch.poll, lambda _: self._take_first(watch))

    def _take_first(self, watch: WatchedRun) -> None:
        if watch is self.watch_of_run:
            self._reading = False
            self._warned = {event["rule"] for event in watch.history.guards}  # old news
            self._show_polled(watch)

    def poll(self) -> None:
        """Read what has happened since, and show it."""
        watch = self.watch_of_run
        if watch and not self._reading and self.is_on_screen and not is_busy(self):
            run_in_background(self, partial(_poll, watch), lambda _: self._show_polled(watch))

    def _show_polled(self, watch: WatchedRun) -> None:
        """Show a run that was polled, unless another thread is reading it: then at the next poll."""
        if watch is self.watch_of_run and watch.lock.acquire(blocking=False):
            try:
                self._show(watch)
            finally:
                watch.lock.release()

    def show_tab(self, name: str) -> None:
        self.query_one(TabbedContent).active = name

    def on_tabbed_content_tab_activated(self, message: TabbedContent.TabActivated) -> None:
        looking = message.pane.id == "microscope"
        self.set_class(looking, "-looking")  # it wants more room than a few lines of text
        self._look(looking)

    def _show(self, watch: WatchedRun) -> None:
        seen, self._shown = self._shown, _counts(watch)
        changed = {name for name, count in self._shown.items() if seen is None or seen[name] != count}
        starting = watch.state == "starting" or (watch.is_live and not watch.history.step)
        self._tell("phases", told.phases(watch, self._ascii) if starting else Text(), hide_empty=True)
        if not changed:
            return
        self._fill(watch)
        self._tell("banner", told.banner(watch, self._ascii), hide_empty=True)
        self.query_one(RunPanel).tell(watch)
        self._tell("summary", _summary(watch, self._ascii))
        self._show_tab_texts(watch, changed)

    def _fill(self, watch: WatchedRun) -> None:
        """Add what the chart lacks, in slices between which keys are answered."""
        if self._curves and watch is self.watch_of_run and not self._curves.take(watch):
            self.set_timer(SLICE_PAUSE, partial(self._fill, watch))

    def _show_tab_texts(self, watch: WatchedRun, changed: set[str]) -> None:
        """Only what has changed: long texts are laid out anew each time."""
        if "samples" in changed:
            self._tell("samples-text", told.samples(watch))
        if "guards" in changed:
            self._warn(watch)
            self._tell("guards-text", render_guards(watch, self._ascii))
        if changed & {"evals", "guards", "checkpoints", "starts", "rewinds", "state"}:
            self._tell("news-text", told.news(watch))
        if changed & {"starts", "state", "phases"}:
            self._tell("log-text", told.log_tail(watch))
        if "checkpoints" in changed:
            self._look(self.query_one(TabbedContent).active == "microscope")

    def _warn(self, watch: WatchedRun) -> None:
        """One toast for each rule that has done more than warn."""
        for event in watch.history.guards:
            if event["action"] != "warn" and event["rule"] not in self._warned:
                self._warned.add(event["rule"])
                self.notify(f"{event['rule']} at step {event['step']:,}: {event['action']}", severity="error")

    def _look(self, wanted: bool) -> None:
        """The microscope works only while somebody looks."""
        if wanted and self.watch_of_run:
            self.query_one(Microscope).look_at(self.watch_of_run)

    def _tell(self, id: str, text: Text, hide_empty: bool = False) -> None:
        static = self.query_one(f"#{id}", Static)
        if hide_empty:
            static.display = bool(text)
        if static.content != text:
            static.update(text)


def _poll(watch: WatchedRun) -> None:
    if watch.needs_poll() or not watch.is_fully_read:
        watch.poll()


def _counts(watch: WatchedRun) -> dict[str, object]:
    """What differs when there is something new to show."""
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


def _summary(watch: WatchedRun, ascii: bool) -> Text:
    """The panel in two lines, for narrow terminals."""
    history = watch.history
    steps = int(watch.settings.get("steps", 0))
    best = history.best_eval
    first = f"{watch.run.id} {format_state(watch, ascii)}  {history.step:,}/{steps:,}"
    second = f"loss {format_decimal(history.last_loss)}"
    if best:
        second += f"  best {format_decimal(best['bpb'])} bpb"
    if speed := history.tokens_per_second():
        second += f"  {speed:,.0f} tok/s"
    if history.guards:
        second += f"  {'!' if ascii else '▲'} {len(history.guards)}"
    return Text(f"{first}\n{second}")
