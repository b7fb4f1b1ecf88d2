"""The dashboard app: four screens over the run directories, themes, and the keys that work on every screen."""

import gc
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from engines.errors import UserError
from engines.files import write_file
from engines.runs.liveness import is_lock_held
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.settings.user_config import UserConfig
from screens.ablate.screen import AblateScreen
from screens.base_app import BaseApp
from screens.help import HelpScreen, key_groups
from screens.messages import FormRequested, RunSelected, RunsRefreshed, SampleRequested
from screens.runs.screen import RunsScreen
from screens.sample.screen import SampleScreen
from screens.shared.background import deliver, is_busy, run_in_background
from screens.state import AppState
from screens.textual_fixes import choose_scroll_bars
from screens.themes import THEMES
from screens.train.screen import TrainScreen

REFRESH_INTERVAL = 1.0  # seconds between two readings of all runs
_BUILD_INTERVAL = 0.3  # seconds without a key after which a hidden screen is built
_SHOW_TIMEOUT = 1.0  # seconds that the reader waits until the first runs are shown
_QUIT_TIMEOUT = 0.3  # seconds to wait for a folder before the app exits


class DashboardApp(BaseApp):
    """The dashboard. Returns the text that the shell should print after it has exited."""

    TITLE = "nanochat-tui"
    # all of them at startup: a style sheet added by a screen restyles every screen that is visited later
    CSS_PATH = ["app.tcss", "ablate/ablate.tcss", "train/train.tcss", "runs/runs.tcss", "sample/sample.tcss"]  # noqa: RUF012
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "train": TrainScreen,
        "runs": RunsScreen,
        "sample": SampleScreen,
        "ablate": AblateScreen,
    }
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as Textual's own
    VERTICAL_BREAKPOINTS = [(0, "-short"), (18, "-low"), (30, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "open('train')", "Train", id="open.train", tooltip="Start a run, or watch one", show=False),
        Binding("2", "open('runs')", "Runs", id="open.runs", tooltip="List and compare runs", show=False),
        Binding("3", "open('sample')", "Sample", id="open.sample", tooltip="Generate text", show=False),
        Binding(
            "4", "open('ablate')", "Ablate", id="open.ablate", tooltip="Plan and watch ablation studies", show=False
        ),
        Binding("q", "quit", "Quit", id="leave", tooltip="Exit the dashboard; runs continue"),
        Binding(
            "ctrl+c",
            "quit",
            "Quit",
            id="leave.interrupt",
            tooltip="Exit the dashboard; runs continue",
            show=False,
            system=True,
        ),
        Binding("question_mark,f1", "help", "Help", id="help", tooltip="Show all keys of this screen", key_display="?"),
        Binding("ctrl+p", "command_palette", "Palette", id="palette", tooltip="Search all commands", show=False),
    ]

    def __init__(
        self,
        results: Path,
        screen: str = "train",
        run: Run | None = None,
        readonly: bool = False,
        ascii: bool = False,
        pending: "Future[Run | None] | None" = None,
        user_config: UserConfig | None = None,
        refresh_interval: float = REFRESH_INTERVAL,
    ) -> None:
        """`pending`: the run to show first, if the search for it is still running."""
        super().__init__()
        self.state = AppState(results, readonly, ascii, selected=run, user_config=user_config or UserConfig(Path()))
        self._first_screen = screen
        self._pending = pending
        self._refresh_interval = refresh_interval  # seconds

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.state.user_config.theme or THEMES[0].name
        self.set_keymap(self.state.user_config.keys)
        self.set_class(self.state.ascii, "-ascii")
        choose_scroll_bars(self.state.ascii)
        self.exit_on_signals()
        self.switch_mode(self._first_screen)
        self.set_interval(self._refresh_interval, self.refresh_runs)
        self.refresh_runs()
        if not self.is_headless:
            self.set_timer(_BUILD_INTERVAL, self.build_hidden_screens)
        if self._pending:
            self.notify(f"Reading {self.state.results} …")
            run_in_background(self, self._pending.result, self._show_pending, group="pending")

    def _show_pending(self, run: Run | None) -> None:
        """Show the run that was named on the command line, unless another was selected in the meantime."""
        if run and self.state.selected is None:
            self.post_message((SampleRequested if self._first_screen == "sample" else RunSelected)(run))

    def refresh_runs(self) -> None:
        """Read what has changed, unless the previous reading is still blocked by a directory."""
        if not is_busy(self, "runs"):
            run_in_background(self, self._read_runs, self._show_runs, self._show_unreadable, group="runs")

    def _read_runs(self) -> list[WatchedRun]:
        return self.state.board.refresh(publish=self._publish_part)

    def _publish_part(self, watches: list[WatchedRun]) -> None:
        """Wait until these runs are shown: reading on would slow down painting the first rows."""
        shown = threading.Event()
        deliver(self, self._show_part, watches, shown)
        shown.wait(_SHOW_TIMEOUT)

    _last_error = ""

    def _show_unreadable(self, error: UserError) -> None:
        """Show the error once, though reading is retried every second: a network drive may be unavailable."""
        if str(error) != self._last_error:
            self.notify(str(error), severity="error")
        self._last_error = str(error)

    def _show_part(self, watches: list[WatchedRun], shown: threading.Event) -> None:
        """Show the runs that have been read so far."""
        self._show_runs(watches)
        self.state.is_partial = True
        self.screen.call_after_refresh(shown.set)

    def _show_runs(self, watches: list[WatchedRun]) -> None:
        self.state.watches = watches
        self.state.is_partial = False
        self._last_error = ""
        self.screen.post_message(RunsRefreshed())

    # --- requests of the screens -----------------------------------------------------------------

    async def on_run_selected(self, message: RunSelected) -> None:
        self.state.selected = message.run
        await self.switch_mode("train")
        if isinstance(self.screen, TrainScreen):
            self.screen.call_after_refresh(self.screen.show_selected)

    async def on_sample_requested(self, message: SampleRequested) -> None:
        self.state.sample_run = message.run
        await self.switch_mode("sample")
        if isinstance(self.screen, SampleScreen):
            self.screen.call_after_refresh(self.screen.show_requested_run)

    async def on_form_requested(self, message: FormRequested) -> None:
        await self.switch_mode("train")
        if isinstance(self.screen, TrainScreen):
            self.screen.call_after_refresh(self.screen.show_form, message.given)

    def action_open(self, mode: str) -> None:
        if mode == self.current_mode:
            self.notify(f"The {mode} screen is already open.")
        self.switch_mode(mode)

    def action_help(self) -> None:
        """Show every key that works on the current screen."""
        self.push_screen(HelpScreen(key_groups(self.screen), self.state.ascii))

    def deliver_screenshot(
        self, filename: str | None = None, path: str | None = None, time_format: str | None = None
    ) -> str | None:
        """Save a screenshot in the results directory: a server has no folder for downloads."""
        name = filename or f"nanochat-tui {datetime.now().isoformat()}.svg".replace(":", "_")
        target = Path(path or self.state.results) / name
        if self.state.refusal:
            self.notify(self.state.refusal)
            return None
        picture = self.export_screenshot()

        def write() -> str:
            write_file(target, picture, "screenshot")
            return f"Screenshot written: {target}"

        run_in_background(self, write, self.notify, group="screenshot", queue=True)
        return None

    # --- hidden screens and exit --------------------------------------------------------------------

    async def build_hidden_screens(self) -> None:
        """Build the screens that have not been visited, one at a time, while no key is pressed."""
        hidden = [mode for mode in self.MODES if mode not in self._screen_stacks]
        is_idle = time.monotonic() - self.last_input > _BUILD_INTERVAL and not self.state.is_partial
        if hidden and is_idle:
            await self._init_mode(hidden[0])
        if hidden:
            self.set_timer(_BUILD_INTERVAL, self.build_hidden_screens)
        elif not self.is_headless:
            gc.freeze()  # a full collection of these objects takes 90 ms, which would delay keys

    async def action_quit(self) -> None:
        """Exit with the names of active runs: those whose locks are held, unless their directory is blocked."""
        runs = {watch.run.id: watch.run for watch in self.state.live_watches}
        names = list(runs)
        if self.state.selected:
            runs.setdefault(self.state.selected.id, self.state.selected)
        run_in_background(self, partial(find_active_runs, runs), self._exit_with, group="quit")
        self.set_timer(_QUIT_TIMEOUT, partial(self._exit_with, names))

    def _exit_with(self, names: Iterable[str]) -> None:
        self.exit("\n".join(f"{name} is still running; reattach with: nanochat-tui attach {name}" for name in names))


def find_active_runs(runs: Mapping[str, Run]) -> list[str]:
    """Return the names of the runs whose locks are held."""
    return [name for name, run in runs.items() if is_lock_held(run.lock_path)]
