"""Open the dashboard in a test, press keys, and wait for what it shows.

Also builds what the dashboard shows: runs from the recordings in tests/fixtures/runs, studies and events.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

from builders import write_text
from patience import PATIENCE
from textual.app import App
from textual.events import Key, MouseEvent
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static
from textual_internals import (
    StyledLine,
    describe_tasks,
    has_crashed,
    has_exited,
    key_name,
    pending_messages,
    render_screen,
    screen_text,
)

from engines.ablation.plan import make_plan
from engines.ablation.study import Study, create_study
from engines.events import encode, encode_line, parse_line_number
from engines.runs.store import Run
from screens.app import DashboardApp
from screens.train.live import LiveView

FIXTURES = Path(__file__).parent / "fixtures" / "runs"
ENDINGS = sorted(path.name for path in FIXTURES.iterdir())
SCREENS = list(DashboardApp.MODES)
QUICK = {"steps": 20, "batch_size": 2, "eval_every": 10, "sample_tokens": 0}  # settings of a study's runs


class DashboardWithToasts(DashboardApp):
    """The dashboard, with its toasts in a list instead of on the screen, where they would hide what is tested."""

    CSS_PATH = str(Path(__file__).parents[1] / "screens" / "app.tcss")  # by default it is searched next to this file

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.toasts: list[str] = []

    def notify(self, message: str, **_: Any) -> None:  # type: ignore[override]
        self.toasts.append(message)


class AppPilot(Pilot[Any]):
    """Textual's pilot of the dashboard, with conditions to wait for and what is on the screen."""

    @property
    def app(self) -> DashboardWithToasts:
        return cast(DashboardWithToasts, super().app)

    @property
    def screen(self) -> Screen[Any]:
        return self.app.screen

    @property
    def live(self) -> LiveView:
        return self.screen.query_one(LiveView)

    @property
    def has_exited(self) -> bool:
        return has_exited(self.app)

    def styled_lines(self) -> list[StyledLine]:
        """Return the lines on the screen as pairs of text and style."""
        return render_screen(self.app)

    def screen_text(self) -> str:
        """Return the characters on the screen."""
        return screen_text(self.app)

    def text_of(self, selector: str) -> str:
        """Return the text of a `Static`, also where it is scrolled out of view."""
        return str(self.screen.query_one(selector, Static).content)

    async def press(self, *keys: str) -> None:
        await super().press(*keys)
        await self.pause()

    async def press_at_once(self, *keys: str) -> None:
        """Press keys so fast that each arrives before the one before it has been handled."""
        for key in keys:
            self.app.post_message(key_event(self.app, key))
        await self.wait_until_idle()

    async def wait_until_idle(self) -> None:
        """Wait until no widget has a message to handle. `Pilot.pause` waits 30 s if the screen is removed meanwhile."""
        deadline, idle_checks = time.monotonic() + PATIENCE, 0
        while idle_checks < 3 and not self.has_exited and not has_crashed(self.app):  # then messages stay in its queue
            await asyncio.sleep(0.005)
            pending = pending_messages(self.app)
            idle_checks = 0 if pending else idle_checks + 1
            assert time.monotonic() < deadline, f"never idle: {pending}; waiting: {describe_tasks()}"

    async def wait_until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Wait until `condition` holds; fail after `patience` seconds with the toasts and the screen."""
        if condition():
            return
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"toasts {self.app.toasts}, screen:\n{self.screen_text()}"
            await asyncio.sleep(0.03)  # `pause` sends a message to every widget, which is too much for every check
        if not self.has_exited and not has_crashed(self.app):
            await self.pause(0)

    async def wait_for_text(self, *texts: str) -> None:
        """Wait until each of these texts has been on the screen."""
        for text in texts:
            await self.wait_until(lambda text=text: text in self.screen_text())

    async def wait_for_toast(self, text: str) -> None:
        """Wait until a toast contains this text."""
        await self.wait_until(lambda: any(text in toast for toast in self.app.toasts))

    async def wait_for_run(self, run: Run) -> None:
        """Wait until the live view has read `run`."""
        views = self.screen.query(LiveView)
        await self.wait_until(lambda: views and views.first().is_loaded)
        assert self.live.run_watch and self.live.run_watch.run == run
        await self.pause()


def key_event(app: DashboardApp, key: str) -> Key:
    """Return the event of a key as the terminal's driver reports it."""
    name = key_name(key) if len(key) == 1 and not key.isalnum() else key
    event = Key(name, key if len(key) == 1 else {"space": " ", "enter": "\r", "slash": "/"}.get(key))
    event.set_sender(app)
    return event


def mouse_event(app: App[Any], event_type: type[Any], x: int, y: int) -> MouseEvent:
    """Return a mouse event at a cell of the screen, with the left button, as the terminal's driver reports it."""
    event: MouseEvent = event_type(app.screen, x, y, 0, 0, 1, False, False, False, x, y)
    event.set_sender(app)
    return event


@contextlib.asynccontextmanager
async def open_dashboard(results: Path, size: tuple[int, int] = (120, 40), **options: Any) -> AsyncIterator[AppPilot]:
    """Open the dashboard on a results directory; `options` are those of `DashboardApp`. A given run is waited for."""
    app = DashboardWithToasts(results, **options)
    async with app.run_test(size=size):
        pilot = AppPilot(app)
        await pilot.pause()
        for entry in app.screen.query(Input):
            entry.cursor_blink = False
        if options.get("run"):
            await pilot.wait_for_run(options["run"])
        yield pilot


@contextlib.contextmanager
def note_on_failure(name: str) -> Iterator[None]:
    """Name the checked item in the report of a failure, where one test checks several in one app."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"while checking {name}")
        raise


def add_run(results: Path, fixture: str, name: str = "", age: float = 4000.0, **resolved: Any) -> Run:
    """Copy a recorded run into `results`, as created `age` seconds ago and with some settings changed."""
    run = Run(results / "runs" / (name or fixture))
    shutil.copytree(FIXTURES / fixture, run.path)
    config = json.loads(run.config_path.read_text())
    config["created_at"] = time.time() - age
    config["resolved"] |= resolved
    config["given"] |= resolved
    run.config_path.write_text(json.dumps(config))
    run.control_dir.mkdir()
    return run


def run_of(results: Path, name: str) -> Run:
    return Run(results / "runs" / name)


def add_study(folder: Path, axes: dict[str, tuple[Any, ...]], given: dict[str, Any] = QUICK, **options: Any) -> Study:
    """Create a study in `folder`/results without starting it."""
    plan = make_plan({"data": str(write_text(folder)), **given}, axes, {"seeds": 2, **options})
    return create_study(folder / "results", plan)


@contextlib.contextmanager
def hold_lock(run: Run) -> Iterator[None]:
    """Hold the lock of a run, as its worker does while it is running."""
    os.utime(run.events_path)
    with open(run.lock_path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def append_events(run: Run, *events: dict[str, Any]) -> None:
    """Append events as the run's worker would: numbered and with checksums where the log has them."""
    number = parse_line_number(run.events_path.read_bytes().splitlines()[-1]) if run.events_path.stat().st_size else 0
    with open(run.events_path, "ab") as file:
        for place, event in enumerate(({"v": 1, **event} for event in events), number + 1):
            file.write(encode_line(event, place) if number else encode(event))
