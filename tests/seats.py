"""Sits a test before the real app: keys go in, and what is painted and said comes out."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from builders import write_text
from patience import PATIENCE
from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static

from engines.ablation.plan import make_plan
from engines.ablation.study import Study, create_study
from engines.events import encode, encode_line, parse_line_number
from engines.runs.store import Run
from screens.app import DashboardApp
from screens.train.live import LiveView

FIXTURES = Path(__file__).parent / "fixtures" / "runs"
ENDINGS = sorted(path.name for path in FIXTURES.iterdir())
QUICK = {"steps": 20, "batch_size": 2, "eval_every": 10, "sample_tokens": 0}  # settings of a study's runs


class HeardApp(DashboardApp):
    """The app, with all that it says kept: toasts would cover what is looked at."""

    CSS_PATH = str(Path(__file__).parents[1] / "screens" / "app.tcss")  # else it is sought beside this file

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.said: list[str] = []

    def notify(self, message: str, **_: Any) -> None:  # type: ignore[override]
        self.said.append(message)


def key_event(app: DashboardApp, key: str) -> Key:
    """A key as the terminal's driver reports it."""
    name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
    event = Key(name, key if len(key) == 1 else {"space": " ", "enter": "\r", "slash": "/"}.get(key))
    event.set_sender(app)
    return event


class Seat:
    """Who sits before the screen."""

    def __init__(self, app: HeardApp, pilot: Pilot[str]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def screen(self) -> Screen[Any]:
        return self.app.screen

    @property
    def live(self) -> LiveView:
        return self.screen.query_one(LiveView)

    def painted(self) -> list[list[tuple[str, str]]]:
        """Every character with its style."""
        strips = self.app.screen._compositor.render_strips(self.app.size)
        return [[(segment.text, str(segment.style)) for segment in strip] for strip in strips]

    def seen(self) -> str:
        """The characters on the screen."""
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self.painted())

    def told(self, selector: str) -> str:
        """What a text on the screen says, in sight or not."""
        return str(self.screen.query_one(selector, Static).content)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def burst(self, *keys: str) -> None:
        """Press keys without a pause: each arrives before the one before it has been handled."""
        for key in keys:
            self.app.post_message(key_event(self.app, key))
        await self.is_idle()

    async def is_idle(self) -> None:
        """Until no widget has a message to handle. `Pilot.pause` waits 30 s for a screen that is removed meanwhile."""
        deadline, quiet = time.monotonic() + PATIENCE, 0
        while quiet < 3 and not self.app._exit and self.app._exception is None:  # then messages stay in its queue
            await asyncio.sleep(0.005)
            busy = [pump for pump in (self.app, *self.app._registry) if not pump._message_queue.empty()]
            quiet = 0 if busy else quiet + 1
            assert time.monotonic() < deadline, (
                f"never idle: {[(type(pump).__name__, pump._message_queue.qsize()) for pump in busy]}; "
                f"waiting: {'; '.join(map(_awaits, asyncio.all_tasks()))}"
            )

    async def until(self, happened: Callable[[], object], patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while not happened():
            assert time.monotonic() < deadline, f"said {self.app.said}, painted:\n{self.seen()}"
            await self.pilot.pause(0.03)

    async def sees(self, *words: str) -> None:
        for word in words:
            await self.until(lambda word=word: word in self.seen())

    async def hears(self, words: str) -> None:
        await self.until(lambda: any(words in said for said in self.app.said))

    async def is_shown(self, run: Run) -> None:
        """Until the live view has read it."""
        watching = self.screen.query(LiveView)
        await self.until(lambda: watching and watching.first().is_loaded)
        assert self.live.run_watch and self.live.run_watch.run == run
        await self.pilot.pause()


def _awaits(task: "asyncio.Task[Any]") -> str:
    """Name the coroutines that a task waits in, the outermost first."""
    names, coroutine = [], task.get_coro()
    while frame := getattr(coroutine, "cr_frame", None):
        names.append(f"{coroutine.__qualname__}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return " > ".join(names)


@contextlib.asynccontextmanager
async def seated(results: Path, size: tuple[int, int] = (120, 40), **given: Any) -> AsyncIterator[Seat]:
    app = HeardApp(results, **given)
    async with app.run_test(size=size) as pilot:
        seat = Seat(app, pilot)
        await pilot.pause()
        for entry in app.screen.query(Input):
            entry.cursor_blink = False
        if given.get("run"):
            await seat.is_shown(given["run"])
        yield seat


def play(
    results: Path, scenario: Callable[[Seat], Awaitable[None]], size: tuple[int, int] = (120, 40), **given: Any
) -> None:
    """The app on these results, with somebody before it who does what the scenario says."""

    async def run() -> None:
        async with seated(results, size, **given) as seat:
            await scenario(seat)

    asyncio.run(run())


@contextlib.contextmanager
def told_of(name: str) -> Iterator[None]:
    """What fails inside says of which it is, where one opened app is looked at for many."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"this was {name}")
        raise


def add_run(results: Path, fixture: str, name: str = "", age: float = 4000.0, **resolved: Any) -> Run:
    """What a run of that ending leaves behind, made so many seconds ago, with some settings changed."""
    run = Run(results / "runs" / (name or fixture))
    shutil.copytree(FIXTURES / fixture, run.path)
    config = json.loads(run.config_path.read_text())
    config["created_at"] = time.time() - age
    config["resolved"] |= resolved
    config["given"] |= resolved
    run.config_path.write_text(json.dumps(config))
    run.control_dir.mkdir()
    return run


def new_study(folder: Path, axes: dict[str, tuple[Any, ...]], given: dict[str, Any] = QUICK, **options: Any) -> Study:
    """Not started."""
    plan = make_plan({"data": str(write_text(folder)), **given}, axes, {"seeds": 2, **options})
    return create_study(folder / "results", plan)


@contextlib.contextmanager
def held(run: Run) -> Iterator[None]:
    """The run's lock is held, as by a worker that goes on."""
    os.utime(run.events_path)
    with open(run.lock_path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def append(run: Run, *events: dict[str, Any]) -> None:
    """Append events as the run's worker would: numbered and with checksums where the log has them."""
    number = parse_line_number(run.events_path.read_bytes().splitlines()[-1]) if run.events_path.stat().st_size else 0
    with open(run.events_path, "ab") as file:
        for place, event in enumerate(({"v": 1, **event} for event in events), number + 1):
            file.write(encode_line(event, place) if number else encode(event))
