"""Draw docs/screenshots/*.svg from real runs, by the app itself: `python docs/screenshots.py` (two minutes)."""

import asyncio
import html
import os
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from textual.pilot import Pilot  # noqa: E402

from engines.ablation.plan import make_plan  # noqa: E402
from engines.ablation.study import create_study, start_queue  # noqa: E402
from engines.runs.launch import launch  # noqa: E402
from engines.runs.store import Run  # noqa: E402
from engines.training.create_run import create_run  # noqa: E402
from screens.app import DashboardApp  # noqa: E402

SIZE = (120, 36)
RUNS: list[dict[str, Any]] = [
    {"model_kind": "bigram"},
    {"model_kind": "bigram", "lr": 3.0, "guard_nonfinite": "warn"},
    {"model_kind": "mini-gpt", "data": "stories", "steps": 600, "eval_every": 50},
]


async def wait_for_text(pilot: Pilot[str], text: str, timeout: float = 240.0) -> None:
    """Wait until the screen shows a text, in upper or lower case. Raises TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while text.lower() not in visible_text(pilot).lower():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the screen does not show {text!r}")
        await pilot.pause(0.2)


def visible_text(pilot: Pilot[str]) -> str:
    """Return the text of the screen, in one line."""
    svg = pilot.app.export_screenshot()
    return html.unescape(re.sub(r"<[^>]+>", "", svg)).replace("\xa0", " ")


async def train(pilot: Pilot[str]) -> None:
    await wait_for_text(pilot, "step 400")


async def inspector(pilot: Pilot[str]) -> None:
    await pilot.press("m")
    await wait_for_text(pilot, "wte")
    pilot.app.screen.query_one("#values").focus()
    await pilot.press("down", "down", "right")
    await wait_for_text(pilot, "gradient")
    await pilot.pause(1.5)


async def runs(pilot: Pilot[str]) -> None:
    await pilot.press("2")
    await wait_for_text(pilot, "best bpb")
    await pilot.press("space", "down", "down", "space", "v")
    await pilot.pause(1.5)


async def sample(pilot: Pilot[str]) -> None:
    await pilot.press("3")
    await pilot.pause(1.0)
    await pilot.press("h", "enter")
    await wait_for_text(pilot, "tok/s")
    await pilot.pause(3.0)
    await pilot.press(*["right"] * 12)
    await pilot.pause(0.5)


async def ablate(pilot: Pilot[str]) -> None:
    await pilot.press("4")
    await wait_for_text(pilot, "study-1")
    await pilot.press("enter")
    await wait_for_text(pilot, "worse")
    await pilot.pause(2.0)


SHOTS: dict[str, Callable[[Pilot[str]], Awaitable[None]]] = {
    "train": train,
    "inspector": inspector,
    "runs": runs,
    "sample": sample,
    "ablate": ablate,
}


def make_runs(results: Path) -> Run:
    """Train all runs and a study; the last run is still running when this returns."""
    for given in RUNS[:-1]:
        launch(create_run(given, results)).wait()
    axes = {"lr": (0.1, 0.5, 3.0), "input_rmsnorm": (False,)}
    start_queue(create_study(results, make_plan({"steps": 200}, axes, {"pick": "one-at-a-time"}))).wait()
    run = create_run(RUNS[-1], results)
    launch(run)
    return run


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="lab-") as temporary:
        os.environ["HOME"] = temporary  # the user's own runs are not shown
        os.chdir(temporary)
        run = make_runs(Path("results"))
        folder = DOCS / "screenshots"
        folder.mkdir(exist_ok=True)
        app = DashboardApp(Path("results"), run=run)
        async with app.run_test(size=SIZE) as pilot:
            for name, act in SHOTS.items():
                await act(pilot)
                (folder / f"{name}.svg").write_text(app.export_screenshot(title="nanochat-tui"))
                print(folder / f"{name}.svg")


if __name__ == "__main__":
    asyncio.run(main())
