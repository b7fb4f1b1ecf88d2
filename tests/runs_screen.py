"""The runs screen alone in an app, and its pilot."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, cast

import app_pilot
from textual.app import App

from screens.messages import RunSelected, RunsRefreshed
from screens.runs.screen import RunsScreen
from screens.shared.background import is_idle
from screens.state import AppState
from screens.themes import SERIES, THEMES


class RunsApp(App[None]):
    """An app with the runs screen and what it requires."""

    CSS_PATH = str(Path(__file__).parents[1] / "screens" / "app.tcss")
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (60, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (18, "-low"), (30, "-high")]

    def __init__(self, results: Path, **given: Any) -> None:
        super().__init__()
        self.state = AppState(results, **given)
        self.toasts: list[str] = []
        self.requests: list[Any] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return SERIES

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        self.set_class(self.state.ascii, "-ascii")
        self.push_screen(RunsScreen())

    def refresh_runs(self) -> None:
        self.state.watches = self.state.board.refresh()
        self.screen.post_message(RunsRefreshed())

    def notify(self, message: str, **_: Any) -> None:  # type: ignore[override]
        self.toasts.append(message)

    def on_run_selected(self, message: RunSelected) -> None:
        self.requests.append(message)

    on_sample_requested = on_form_requested = on_run_selected


class RunsPilot(app_pilot.AppPilot):
    """Textual's pilot of the runs screen."""

    @property
    def app(self) -> RunsApp:  # type: ignore[override]
        return cast(RunsApp, super().app)

    @property
    def screen(self) -> RunsScreen:
        return next(screen for screen in self.app.screen_stack if isinstance(screen, RunsScreen))

    @property
    def ids(self) -> list[str]:
        """Return the ids of the runs in the table, in its order."""
        return [Path(str(row.key.value)).name for row in self.screen.table.ordered_rows]

    @property
    def run_at_cursor(self) -> str:
        return self.ids[self.screen.table.cursor_row]

    def cell(self, run_id: str, column: str) -> str:
        table = self.screen.table
        key = next(key for key in table.rows if str(key.value).endswith(f"/{run_id}"))
        return str(table.get_cell(key, column))

    async def refresh(self) -> None:
        self.app.refresh_runs()
        await self.pause()
        await self.wait_until(is_idle)

    async def select_run(self, run_id: str) -> None:
        self.screen.table.move_cursor(row=self.ids.index(run_id))
        await self.pause()


@contextlib.asynccontextmanager
async def open_runs(results: Path, size: tuple[int, int] = (120, 40), **given: Any) -> AsyncIterator[RunsPilot]:
    app = RunsApp(results, **given)
    async with app.run_test(size=size):
        pilot = RunsPilot(app)
        await pilot.pause()
        await pilot.refresh()
        yield pilot
