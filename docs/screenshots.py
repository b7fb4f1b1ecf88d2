"""Makes docs/screenshots/*.svg from real runs, drawn by the app itself: `python docs/screenshots.py` (two minutes)."""

import asyncio
import os
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


async def until(pilot: Pilot[str], text: str, patience: float = 60.0) -> None:
    """Wait for a text to stand on the screen."""
    deadline = time.monotonic() + patience
    while text not in "".join(
        segment.text for strip in pilot.app.screen._compositor.render_strips() for segment in strip
    ):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{text!r} never stood on the screen")
        await pilot.pause(0.2)


async def train(pilot: Pilot[str]) -> None:
    await until(pilot, "step 400")


async def microscope(pilot: Pilot[str]) -> None:
    await pilot.press("m")
    await until(pilot, "nats a token")
    pilot.app.screen.query_one("#values").focus()
    await pilot.press("down", "down", "right")
    await until(pilot, "gradient")
    await pilot.pause(1.5)


async def runs(pilot: Pilot[str]) -> None:
    await pilot.press("2")
    await until(pilot, "best bpb")
    await pilot.press("space", "down", "down", "space", "v")
    await pilot.pause(1.5)


async def sample(pilot: Pilot[str]) -> None:
    await pilot.press("3")
    await pilot.pause(1.0)
    await pilot.press("h", "enter")
    await until(pilot, "tok/s")
    await pilot.pause(3.0)
    await pilot.press(*["right"] * 12)
    await pilot.pause(0.5)


async def ablate(pilot: Pilot[str]) -> None:
    await pilot.press("4")
    await until(pilot, "study-1")
    await pilot.press("enter")
    await until(pilot, "worse")
    await pilot.pause(2.0)


SHOTS: dict[str, Callable[[Pilot[str]], Awaitable[None]]] = {
    "train": train,
    "microscope": microscope,
    "runs": runs,
    "sample": sample,
    "ablate": ablate,
}


def make_runs(results: Path) -> Run:
    """All but the last have ended when this returns; the last is under way."""
    for given in RUNS[:-1]:
        launch(create_run(given, results)).wait()
    axes = {"lr": (0.1, 0.5, 3.0), "input_rmsnorm": (False,)}
    start_queue(create_study(results, make_plan({"steps": 200}, axes, {"pick": "one-at-a-time"}))).wait()
    run = create_run(RUNS[-1], results)
    launch(run)
    return run


async def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["HOME"] = temporary  # nobody's own runs are shown
        run = make_runs(Path(temporary) / "results")
        folder = DOCS / "screenshots"
        folder.mkdir(exist_ok=True)
        app = DashboardApp(Path(temporary) / "results", run=run)
        async with app.run_test(size=SIZE) as pilot:
            for name, act in SHOTS.items():
                await act(pilot)
                (folder / f"{name}.svg").write_text(app.export_screenshot(title="nanochat-tui"))
                print(folder / f"{name}.svg")


if __name__ == "__main__":
    asyncio.run(main())
