"""The sample screen alone in an app, with a real sampling process, and its pilot."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, cast

import app_pilot
import psutil
from textual.app import App
from textual.widgets import Input, Static

from screens.messages import RunsRefreshed
from screens.sample.generation_pane import GenerationPane
from screens.sample.screen import SampleScreen
from screens.state import AppState

ENDLESS = 10**7  # new tokens


class SampleApp(App[None]):
    """An app with the sample screen and what it requires."""

    CSS_PATH = str(Path(__file__).parents[1] / "screens" / "app.tcss")
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (60, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (18, "-low"), (30, "-high")]

    def __init__(self, results: Path, **options: Any) -> None:
        super().__init__()
        self.state = AppState(results, **options)
        self.toasts: list[str] = []
        self.copied = ""

    def on_mount(self) -> None:
        self.push_screen(SampleScreen())
        self.refresh_runs()

    def refresh_runs(self) -> None:
        self.state.watches = self.state.board.refresh()
        self.screen.post_message(RunsRefreshed())

    def notify(self, message: str, **_: Any) -> None:  # type: ignore[override]
        self.toasts.append(message)

    def copy_to_clipboard(self, text: str) -> None:
        self.copied = text


class SamplePilot(app_pilot.AppPilot):
    """Textual's pilot of the sample screen. `pane` is the id of one of its panes."""

    @property
    def app(self) -> SampleApp:  # type: ignore[override]
        return cast(SampleApp, super().app)

    @property
    def screen(self) -> SampleScreen:
        return next(screen for screen in self.app.screen_stack if isinstance(screen, SampleScreen))

    def pane(self, pane: str = "first") -> GenerationPane:
        return self.screen.query_one(f"#{pane}", GenerationPane)

    def status(self, pane: str = "first") -> str:
        return str(self.pane(pane).query_one(".status", Static).content)

    def text(self, pane: str = "first") -> str:
        generation = self.pane(pane).generation
        return generation.text if generation else ""

    def write_prompt(self, text: str) -> None:
        self.screen.prompt.value = text

    async def set(self, name: str, value: object) -> None:
        self.screen.query_one(f"#setting-{name} Input", Input).value = str(value)
        await self.pause()

    async def generate(self) -> None:
        await self.press("enter")
        await self.wait_until_generated()

    async def wait_until_generated(self, pane: str = "first") -> None:
        await self.wait_until(lambda: self.pane(pane).request and not self.pane(pane).is_generating)
        await self.pause()

    async def generate_endlessly(self) -> None:
        """Sample the most likely token each time, so that the text repeats itself and never ends."""
        self.write_prompt("the ")
        await self.set("top_k", 1)
        await self.set("max_new_tokens", ENDLESS)
        await self.press("enter")
        await self.wait_until(lambda: len(self.pane().tokens) > 50)
        assert self.pane().is_generating


@contextlib.asynccontextmanager
async def open_sample_screen(
    results: Path, size: tuple[int, int] = (120, 40), **options: Any
) -> AsyncIterator[SamplePilot]:
    app = SampleApp(results, **options)
    async with app.run_test(size=size):
        pilot = SamplePilot(app)
        await pilot.wait_until(lambda: pilot.pane().runs is not None)
        yield pilot


def sampling_process() -> psutil.Process:
    """Return the sampling process that this process has started."""
    (process,) = [child for child in psutil.Process().children() if "engines.generation.server" in child.cmdline()]
    return process
