"""Presses random keys in the app until one crashes it.

    python tests/monkey.py --keys 1000 --seed 1

prints how many keys were pressed, and the rate. A crash ends it with the seed and the last inputs, and exit code 1.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import random
import string
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import psutil
from seats import ENDINGS, Seat, add_run, held, key_event, new_study
from textual import events
from textual.geometry import Size

from engines.errors import UserError
from engines.runs.store import Run
from screens.ablate import actions as study_actions
from screens.app import DashboardApp
from screens.shared import run_actions

MOST_WORKERS = 2  # real processes that the keys of one folder may start
SIZES = [(1, 1), (20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]
NAMED = (
    "enter escape tab shift+tab up down left right home end pageup pagedown space backspace delete "
    "f1 f5 ctrl+p ctrl+s ctrl+u slash question_mark"
).split()
KEYS = [*NAMED * 3, *string.ascii_letters, *string.digits, *string.punctuation, "é", "日"]
LEAVING = {"q", "ctrl+c", "ctrl+q"}  # pressed more rarely: opening the app again takes longest
_KEPT = 60  # inputs that a crash is reported with


@dataclasses.dataclass
class Monkey:
    """Return the keys pressed so far."""

    random: random.Random
    pressed: int = 0
    exits: int = 0
    recent: deque[str] = dataclasses.field(default_factory=lambda: deque(maxlen=_KEPT))

    def choose(self) -> str:
        if self.random.random() < 0.002:
            return self.random.choice(sorted(LEAVING))
        while (key := self.random.choice(KEYS)) in LEAVING:
            pass
        return key

    def press(self, app: DashboardApp) -> None:
        """One key, click, turn of the wheel, or another size of the terminal."""
        self.pressed += 1
        kind = self.random.random()
        if kind < 0.9:
            key = self.choose()
            self.recent.append(key)
            app.post_message(key_event(app, key))
        elif kind < 0.99:
            x, y = self.random.randrange(app.size.width or 1), self.random.randrange(app.size.height or 1)
            wheel = self.random.choice([None, None, events.MouseScrollUp, events.MouseScrollDown])
            self.recent.append(f"{wheel.__name__ if wheel else 'click'}({x},{y})")
            for event in (wheel,) if wheel else (events.MouseMove, events.MouseDown, events.MouseUp):
                app.post_message(_mouse(event, x, y, app))
        else:
            size = Size(*self.random.choice(SIZES))
            self.recent.append(f"resize{tuple(size)}")
            assert app._driver
            app._driver._size = tuple(size)
            app.post_message(events.Resize(size, size))


def _mouse(event: type[Any], x: int, y: int, app: DashboardApp) -> events.MouseEvent:
    found: events.MouseEvent = event(app.screen, x, y, 0, 0, 1, False, False, False, x, y)
    found.set_sender(app)
    return found


async def press_random_keys(seat: Seat, monkey: Monkey, count: int) -> None:
    """Press up to `count` keys, in bursts of one to eight; fewer where one of them leaves the app."""
    last = monkey.pressed + count
    while monkey.pressed < last and not seat.app._exit and seat.app._exception is None:
        for _ in range(monkey.random.choice((1, 1, 1, 2, 3, 8))):
            monkey.press(seat.app)
        await seat.is_idle()
    monkey.exits += seat.app._exit


def random_keys(folder: Path, seed: int, count: int, readonly: bool = False) -> Monkey:
    """Press so many keys in a lab of recorded runs, opening the app again whenever a key has left it."""
    monkey = Monkey(random.Random(seed))
    results = make_lab(folder)
    with held(Run(results / "runs" / "live")), few_workers():
        try:
            while monkey.pressed < count:
                app = DashboardApp(results, monkey.random.choice(list(DashboardApp.MODES)), readonly=readonly)
                asyncio.run(_open(app, monkey, count - monkey.pressed))
        except BaseException as error:
            error.add_note(f"seed {seed}, after {monkey.pressed:,} keys, the last of which are:")
            error.add_note(" ".join(monkey.recent))
            raise
    return monkey


async def _open(app: DashboardApp, monkey: Monkey, count: int) -> None:
    async with app.run_test(size=monkey.random.choice(SIZES), tooltips=True, notifications=True) as pilot:
        await press_random_keys(Seat(app, pilot), monkey, count)


def make_lab(folder: Path) -> Path:
    """Runs of every ending, one that a lock makes look live, and a study that was never started."""
    for number, ending in enumerate(ENDINGS):
        add_run(folder / "results", ending, age=1000.0 * (number + 1))
    add_run(folder / "results", "killed", "live")
    new_study(folder, {"lr": (0.1, 0.3)})
    return folder / "results"


@contextlib.contextmanager
def few_workers() -> Iterator[None]:
    """Keys may start a few real processes, which end with this."""
    before, started = set(psutil.Process().children(recursive=True)), 0
    originals = (run_actions.launch, study_actions.start_queue)

    def limited(launch: Any) -> Any:
        def start(what: Any) -> Any:
            nonlocal started
            started += 1
            if started > MOST_WORKERS:
                raise UserError("enough has been started.")
            return launch(what)

        return start

    run_actions.launch, study_actions.start_queue = map(limited, originals)  # type: ignore[attr-defined, assignment]
    try:
        yield
    finally:
        run_actions.launch, study_actions.start_queue = originals  # type: ignore[attr-defined]
        for process in set(psutil.Process().children(recursive=True)) - before:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readonly", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nanochat-tui-monkey-") as folder:
        started = time.monotonic()
        monkey = random_keys(Path(folder), options.seed, options.keys, options.readonly)
        seconds = time.monotonic() - started
    rate = monkey.pressed / seconds
    print(f"{monkey.pressed:,} keys in {seconds:.0f} s, {rate:.0f} per second, seed {options.seed}: no crash")
    return 0


if __name__ == "__main__":
    sys.exit(main())
