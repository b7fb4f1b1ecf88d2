"""Compare each screen with its recorded text.

Record them again after an intended change: `NANOCHAT_TUI_RECORD=1 pytest tests/screens/test_snapshots.py`; then
read the diff of tests/screens/snapshots as you would read code.
"""

import difflib
import html
import os
import re
import time
import unicodedata
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from app_pilot import AppPilot, add_run, open_dashboard

from engines.cost.machine import Machine
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from screens.runs.screen import RunsScreen
from screens.train import new_run

SNAPSHOTS = Path(__file__).parent / "snapshots"
SIZES = [(120, 40), (80, 24)]
NOW = 1_800_000_000.0  # time of the fixed clock


async def leave_as_opened(pilot: AppPilot) -> None:
    pass


async def show_guards(pilot: AppPilot) -> None:
    await pilot.press("g")
    await pilot.wait_for_text("Threshold")


async def open_confirmation(pilot: AppPilot) -> None:
    await wait_for_runs(pilot)
    await pilot.press("D")
    await pilot.wait_for_text("permanently?")


async def wait_for_runs(pilot: AppPilot) -> None:
    screen = pilot.screen
    assert isinstance(screen, RunsScreen)
    await pilot.wait_until(lambda: screen.table.row_count == 4)


async def wait_for_status(pilot: AppPilot) -> None:
    await pilot.wait_for_text("No checkpoint to sample from")


SCENES: dict[str, tuple[dict[str, str], Callable[[AppPilot], Awaitable[None]]]] = {
    "form": ({}, leave_as_opened),
    "finished": ({"run": "finished"}, leave_as_opened),
    "crashed": ({"run": "crashed"}, leave_as_opened),
    "guards": ({"run": "spikes-warned"}, show_guards),
    "runs": ({"screen": "runs"}, wait_for_runs),
    "delete": ({"screen": "runs"}, open_confirmation),
    "sample": ({"screen": "sample"}, wait_for_status),
}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a results directory of four recorded runs; the clock is fixed, and the machine has eight cores."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(new_run, "this_machine", lambda gpu: Machine(None, 8))
    monkeypatch.chdir(tmp_path)
    results = Path("results")  # relative, because the screens show it
    for place, ending in enumerate(("finished", "crashed", "spikes-warned", "killed")):
        add_run(results, ending, age=4000.0 * (place + 1))
    return results


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", SCENES)
async def test_screens_match_their_snapshots(scene: str, size: tuple[int, int], lab: Path) -> None:
    given, arrange = SCENES[scene]
    more: dict[str, Any] = dict(given)
    if "run" in more:
        more["run"] = Run(lab / "runs" / more["run"])
    painted: list[str] = []
    async with open_dashboard(lab, size, **more) as pilot:
        await arrange(pilot)
        await wait_until_still(pilot)
        painted.append(parse_svg(pilot.app.export_screenshot()))
    check_snapshot(SNAPSHOTS / f"{scene}-{size[0]}x{size[1]}.txt", painted[0])


async def test_the_sample_screen_chooses_the_newest_run_even_if_others_are_read_first(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    glance = WatchedRun.poll_overview

    def glance_slowly(watch: WatchedRun) -> None:
        time.sleep(0.2)
        glance(watch)

    monkeypatch.setattr(WatchedRun, "poll_overview", glance_slowly)
    os.utime(lab / "runs" / "finished" / "events.jsonl", (0, 0))  # the run that changed last is read first
    async with open_dashboard(lab, (120, 40), screen="sample") as pilot:
        await pilot.wait_for_text("all checkpoints of finished")


async def wait_until_still(pilot: AppPilot) -> None:
    text = ""
    while text != (text := pilot.screen_text()):
        await pilot.pause(0.1)


def parse_svg(svg: str) -> str:
    """Return the characters of a screenshot at their positions."""
    found = re.findall(r'<text class="[^"]*-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', svg)
    lines: dict[float, dict[int, str]] = {}
    for x, y, escaped in found:
        lines.setdefault(float(y), {})[round(float(x) / _CELL)] = html.unescape(escaped).replace("\xa0", " ")
    return "\n".join(join_parts(lines[y]) for y in sorted(lines)) + "\n"


_CELL = 12.2  # width of a character in Rich's SVG


def join_parts(parts: dict[int, str]) -> str:
    line = ""
    for x, text in sorted(parts.items()):
        line += " " * (x - sum(cell_width(letter) for letter in line)) + text
    return line.rstrip()


def cell_width(letter: str) -> int:
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def check_snapshot(file: Path, painted: str) -> None:
    if os.environ.get("NANOCHAT_TUI_RECORD"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(painted)
    assert file.exists(), f"{file.name} was never recorded; NANOCHAT_TUI_RECORD=1 records it"
    recorded = file.read_text()
    difference = difflib.unified_diff(recorded.splitlines(), painted.splitlines(), "recorded", "painted", lineterm="")
    assert painted == recorded, f"{file.name} differs; NANOCHAT_TUI_RECORD=1 records it again\n" + "\n".join(difference)
