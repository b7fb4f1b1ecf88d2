"""Press random keys in the dashboard, to find keys that crash it.

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
from app_pilot import ENDINGS, AppPilot, add_run, add_study, hold_lock, key_event, mouse_event
from textual import events
from textual.geometry import Size
from textual_internals import has_crashed, set_terminal_size

from engines.errors import UserError
from engines.runs.store import Run
from screens.ablate import actions as study_actions
from screens.app import DashboardApp
from screens.shared import run_actions

MAX_WORKERS = 2  # real processes that the keys of one test may start
SIZES = [(1, 1), (20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]
NAMED = (
    "enter escape tab shift+tab up down left right home end pageup pagedown space backspace delete "
    "f1 f5 ctrl+p ctrl+s ctrl+u slash question_mark"
).split()
KEYS = [*NAMED * 3, *string.ascii_letters, *string.digits, *string.punctuation, "é", "日"]
EXIT_KEYS = {"q", "ctrl+c", "ctrl+q"}  # pressed more rarely: opening the app again takes longest
_MAX_RECENT = 60  # inputs in the report of a crash


@dataclasses.dataclass
class Monkey:
    """A source of random keys, clicks and sizes, and a record of those that were sent."""

    random: random.Random
    pressed: int = 0
    exits: int = 0
    recent: deque[str] = dataclasses.field(default_factory=lambda: deque(maxlen=_MAX_RECENT))

    def choose_key(self) -> str:
        if self.random.random() < 0.002:
            return self.random.choice(sorted(EXIT_KEYS))
        while (key := self.random.choice(KEYS)) in EXIT_KEYS:
            pass
        return key

    def press(self, app: DashboardApp) -> None:
        """Send a random key, click, turn of the wheel or size of the terminal."""
        self.pressed += 1
        kind = self.random.random()
        if kind < 0.9:
            key = self.choose_key()
            self.recent.append(key)
            app.post_message(key_event(app, key))
        elif kind < 0.99:
            x, y = self.random.randrange(app.size.width or 1), self.random.randrange(app.size.height or 1)
            wheel = self.random.choice([None, None, events.MouseScrollUp, events.MouseScrollDown])
            self.recent.append(f"{wheel.__name__ if wheel else 'click'}({x},{y})")
            for event in (wheel,) if wheel else (events.MouseMove, events.MouseDown, events.MouseUp):
                app.post_message(mouse_event(app, event, x, y))
        else:
            size = Size(*self.random.choice(SIZES))
            self.recent.append(f"resize{tuple(size)}")
            set_terminal_size(app, size)
            app.post_message(events.Resize(size, size))


async def press_random_keys(pilot: AppPilot, monkey: Monkey, count: int) -> None:
    """Press up to `count` keys, in bursts of one to eight; stop early if one of them closes the app."""
    last = monkey.pressed + count
    while monkey.pressed < last and not pilot.has_exited and not has_crashed(pilot.app):
        for _ in range(monkey.random.choice((1, 1, 1, 2, 3, 8))):
            monkey.press(pilot.app)
        await pilot.wait_until_idle()
    monkey.exits += pilot.has_exited


async def press_in_dashboard(results: Path, seed: int, count: int, readonly: bool = False) -> Monkey:
    """Press `count` random keys in the dashboard, opening it again whenever a key has closed it.

    `results` is a results directory of `make_results`.
    """
    monkey = Monkey(random.Random(seed))
    with hold_lock(Run(results / "runs" / "live")), limit_workers():
        try:
            while monkey.pressed < count:
                app = DashboardApp(results, monkey.random.choice(list(DashboardApp.MODES)), readonly=readonly)
                await _open(app, monkey, count - monkey.pressed)
        except BaseException as error:
            error.add_note(f"seed {seed}, after {monkey.pressed:,} keys, the last of which are:")
            error.add_note(" ".join(monkey.recent))
            raise
    return monkey


async def _open(app: DashboardApp, monkey: Monkey, count: int) -> None:
    async with app.run_test(size=monkey.random.choice(SIZES), tooltips=True, notifications=True):
        await press_random_keys(AppPilot(app), monkey, count)


def make_results(folder: Path) -> Path:
    """Create runs of every ending, one named `live`, and a study that was never started; return their directory."""
    for number, ending in enumerate(ENDINGS):
        add_run(folder / "results", ending, age=1000.0 * (number + 1))
    add_run(folder / "results", "killed", "live")
    add_study(folder, {"lr": (0.1, 0.3)})
    return folder / "results"


@contextlib.contextmanager
def limit_workers() -> Iterator[None]:
    """Let keys start up to `MAX_WORKERS` real processes, and kill those at the end."""
    before, started = set(psutil.Process().children(recursive=True)), 0
    originals = (run_actions.launch, study_actions.start_queue)

    def limited(launch: Any) -> Any:
        def start(what: Any) -> Any:
            nonlocal started
            started += 1
            if started > MAX_WORKERS:
                raise UserError("this test starts no more processes.")
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
        results = make_results(Path(folder))
        monkey = asyncio.run(press_in_dashboard(results, options.seed, options.keys, options.readonly))
        seconds = time.monotonic() - started
    rate = monkey.pressed / seconds
    print(f"{monkey.pressed:,} keys in {seconds:.0f} s, {rate:.0f} per second, seed {options.seed}: no crash")
    return 0


if __name__ == "__main__":
    sys.exit(main())
