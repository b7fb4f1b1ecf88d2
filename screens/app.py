"""The Textual app: four screens over the run directories, themes, and the keys that hold everywhere."""

import asyncio
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.events import Event, InputEvent, MouseDown
from textual.screen import Screen
from textual.theme import ThemeProvider
from textual.widget import AwaitMount

from engines.errors import UserError
from engines.files import write_file
from engines.runs.liveness import is_lock_held
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.settings.user_config import UserConfig
from screens.ablate.screen import AblateScreen
from screens.chart import SERIES
from screens.crash import report_crash
from screens.help import HelpScreen, key_groups
from screens.messages import FormRequested, RunSelected, RunsRefreshed, SampleRequested
from screens.runs.screen import RunsScreen
from screens.sample.screen import SampleScreen
from screens.shared.background import deliver, is_busy, run_in_background
from screens.state import AppState
from screens.textual_fixes import close_palettes_of_other_modes, ignore_page_keys_before_layout
from screens.themes import THEMES
from screens.train.screen import TrainScreen
from screens.widgets.dialog import Palette
from screens.widgets.wrapping import shown

REFRESH_INTERVAL = 1.0  # seconds between looks at all runs
_BUILD_INTERVAL = 0.3  # seconds without a key after which a hidden screen is built
_FRAME = 1 / 60  # seconds
_SHOW_PATIENCE = 1.0  # seconds that the reader of runs waits until what it has read is shown
_LEAVE_PATIENCE = 0.3  # seconds to wait for a folder before the app exits
_READ_A_SECOND = 15.0  # characters of a toast


ignore_page_keys_before_layout()
close_palettes_of_other_modes()


class DashboardApp(App[str]):
    """Returns, on leaving, what the shell should print."""

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
        Binding("1", "open('train')", "Train", id="open.train", tooltip="Start a run, watch one", show=False),
        Binding("2", "open('runs')", "Runs", id="open.runs", tooltip="Every run, compared", show=False),
        Binding("3", "open('sample')", "Sample", id="open.sample", tooltip="Let a model speak", show=False),
        Binding("4", "open('ablate')", "Ablate", id="open.ablate", tooltip="Studies of variants", show=False),
        Binding("q", "leave", "Leave", id="leave", tooltip="Leave; runs go on"),
        Binding("ctrl+c", "leave", "Leave", id="leave.interrupt", tooltip="Leave; runs go on", show=False, system=True),
        Binding("question_mark,f1", "help", "Help", id="help", tooltip="Every key of this screen", key_display="?"),
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
        self._last_input = 0.0  # when a key was pressed or the pointer moved
        self.failure = ""  # the sentence about an exception that ended the app

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return SERIES

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.state.user_config.theme or THEMES[0].name
        self.set_keymap(self.state.user_config.keys)
        self.set_class(self.state.ascii, "-ascii")
        self._exit_on_signals()
        self.switch_mode(self._first_screen)
        self._refresh_timer = self.set_interval(self._refresh_interval, self._refresh_runs)
        self._refresh_runs()
        if not self.is_headless:
            self.set_timer(_BUILD_INTERVAL, self.build_hidden_screens)
        if self._pending:
            self.notify(f"reading {self.state.results} ...")
            run_in_background(self, self._pending.result, self._take_found, group="pending")

    def _take_found(self, run: Run | None) -> None:
        """Show the run that was named on the command line, unless another was chosen meanwhile."""
        if run and self.state.selected is None:
            self.post_message((SampleRequested if self._first_screen == "sample" else RunSelected)(run))

    def _refresh_runs(self) -> None:
        """Read what has changed, unless the previous read still waits for a folder."""
        if not is_busy(self, "runs"):
            run_in_background(self, self._read_runs, self._take_runs, self._show_unreadable, group="runs")

    def _read_runs(self) -> list[WatchedRun]:
        return self.state.board.refresh(publish=self._publish_part)

    def _publish_part(self, watches: list[WatchedRun]) -> None:
        """Wait a moment until the part is shown: the reader would slow down what paints the first rows."""
        shown = threading.Event()
        deliver(self, self._take_part, watches, shown)
        shown.wait(_SHOW_PATIENCE)

    _why_unread = ""

    def _show_unreadable(self, error: UserError) -> None:
        """Show the error once, though reading is retried every second: a network drive may be unavailable."""
        if str(error) != self._why_unread:
            self.notify(str(error), severity="error")
        self._why_unread = str(error)

    def _take_part(self, watches: list[WatchedRun], shown: threading.Event) -> None:
        """Show the runs that have been read so far."""
        self._take_runs(watches)
        self.state.is_partial = True
        self.screen.call_after_refresh(shown.set)

    def _take_runs(self, watches: list[WatchedRun]) -> None:
        self.state.watches = watches
        self.state.is_partial = False
        self._why_unread = ""
        self.screen.post_message(RunsRefreshed())

    def notify(self, message: str, **how: Any) -> None:
        """Names and values stand as they are: in brackets too. What takes longer to read stays longer.

        A key that is held says its sentence once, not in a pile that covers the screen.
        """
        for said in [said for said in self._notifications if said.message == shown(message)]:
            self._unnotify(said)
        timeout = max(self.NOTIFICATION_TIMEOUT, len(message) / _READ_A_SECOND)
        super().notify(shown(message), **{"timeout": timeout, **how, "markup": False})

    # --- what the screens ask for -----------------------------------------------------------------

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

    def get_key_display(self, binding: Binding) -> str:
        """Signs for keys only where all terminals draw them."""
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.state.ascii else binding.key

    def action_open(self, mode: str) -> None:
        if mode == self.current_mode:
            self.notify(f"this is the {mode} screen.")
        self.switch_mode(mode)

    def action_help(self) -> None:
        """Show every key that works on the current screen."""
        self.push_screen(HelpScreen(key_groups(self.screen), self.state.ascii))

    action_show_help_panel = action_help  # the name that the command palette uses

    def deliver_screenshot(
        self, filename: str | None = None, path: str | None = None, time_format: str | None = None
    ) -> str | None:
        """Save a screenshot in the results directory: a machine without a desktop has no folder for downloads."""
        name = filename or f"nanochat-tui {datetime.now().isoformat()}.svg".replace(":", "_")
        target = Path(path or self.state.results) / name
        if self.state.refusal:
            self.notify(self.state.refusal)
            return None
        picture = self.export_screenshot()

        def write() -> str:
            write_file(target, picture, "screenshot")
            return f"written: {target}"

        run_in_background(self, write, self.notify, group="screenshot", queue=True)
        return None

    async def action_quit(self) -> None:
        """Textual's own way out, by ctrl+q and the palette, tells as much."""
        self.action_leave()

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def search_themes(self) -> None:
        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    # --- the end ----------------------------------------------------------------------------------

    async def on_event(self, event: Event) -> None:
        """Ignore keys and clicks on widgets that are being removed, and all of them while the app exits."""
        if isinstance(event, InputEvent):
            self._last_input = time.monotonic()
            if self._exit or (isinstance(event, MouseDown) and self._is_being_removed(event)):
                return
        await super().on_event(event)

    def _is_being_removed(self, event: MouseDown) -> bool:
        """Return whether the widget under the mouse, or what contains it, was removed.

        It stays painted until the next frame, and Textual's text selection fails on it.
        """
        widget, _ = self.screen.get_widget_and_offset_at(event.x, event.y)
        return widget is not None and not widget.is_attached

    async def build_hidden_screens(self) -> None:
        """Build the screens that were not visited yet, one at a time, while no key is pressed."""
        hidden = [mode for mode in self.MODES if mode not in self._screen_stacks]
        is_idle = time.monotonic() - self._last_input > _BUILD_INTERVAL and not self.state.is_partial
        if hidden and is_idle:
            await self._init_mode(hidden[0])
        if hidden:
            self.set_timer(_BUILD_INTERVAL, self.build_hidden_screens)
        elif not self.is_headless:
            gc.freeze()  # what is there now stays: a full collection of it takes 90 ms, during which keys wait

    def _get_screen(self, screen: Screen[Any] | str) -> tuple[Screen[Any], AwaitMount]:
        """A new screen is styled when it is built; Textual would also parse all style sheets again when it is shown."""
        is_new = isinstance(screen, Screen) and not screen.is_running
        found, mounted = super()._get_screen(screen)
        if is_new:
            found._css_update_count = self._css_update_count
        return found, mounted

    def delay_update(self, delay: float = _FRAME) -> None:
        """Paint a screen that was switched to in the next frame; Textual waits 50 ms for it to be built."""
        super().delay_update(min(delay, _FRAME))

    def _exit_on_signals(self) -> None:
        """Restore the terminal before a signal ends the program."""
        if not self.is_headless and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)

    def _handle_exception(self, error: Exception) -> None:
        """Exit with one sentence; Textual's own handler would print a traceback with all local variables."""
        self._return_code = 1
        if self._exception is None:  # others are its consequences
            self._exception = error
            self._exception_event.set()
            self.failure = report_crash(error)
        self._close_messages_no_wait()

    def action_leave(self) -> None:
        """Exit with the names of running runs: those whose locks are held, unless their folder hangs."""
        runs = {watch.run.id: watch.run for watch in self.state.live_watches}
        live = list(runs)
        if self.state.selected:
            runs.setdefault(self.state.selected.id, self.state.selected)
        run_in_background(self, partial(_names_of_live, runs), self._leave, group="leave")
        self.set_timer(_LEAVE_PATIENCE, partial(self._leave, live))

    def _leave(self, live: Iterable[str]) -> None:
        self.exit("\n".join(f"{name} is still running; reattach with: nanochat-tui attach {name}" for name in live))


def _names_of_live(runs: Mapping[str, Run]) -> list[str]:
    return [name for name, run in runs.items() if is_lock_held(run.lock_path)]
