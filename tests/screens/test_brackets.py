"""What people and runs write stands on the screens as it is: brackets in it are not markup, and end nothing."""

import asyncio
import dataclasses
from pathlib import Path

from seats import QUICK, Seat, add_run, play
from textual.widgets import Input

from engines.ablation.plan import make_plan
from engines.ablation.study import create_study
from screens.app import DashboardApp

EVIL = "[/b] [red]x"


def _text(app: DashboardApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips(app.size))


def test_toasts_say_names_as_they_are(tmp_path: Path) -> None:
    async def scenario() -> None:
        app = DashboardApp(tmp_path)
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            app.screen.notify(f"{EVIL}\x1b[31m does not exist", timeout=60)
            while f"{EVIL}␛[31m does not exist" not in _text(app):
                await pilot.pause(0.05)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_any_entry_of_the_form_takes_them(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        entries = list(seat.screen.query("SettingRow Input").results(Input))
        for entry in entries:
            entry.value = EVIL
        await seat.pilot.pause()
        await seat.sees(f"not '{EVIL}'.")
        await seat.press("f5")
        assert any(EVIL in words for words in seat.app.said)
        assert len(entries) > 3

    play(tmp_path, scenario)


def test_a_run_shows_them_everywhere(tmp_path: Path) -> None:
    run = add_run(tmp_path, "finished", "[b]owl", data=f"/lab/{EVIL}.txt", prompt=EVIL)

    async def scenario(seat: Seat) -> None:
        for key in ("2", "enter", "1", "3", "c", "escape", "2", "d", "escape", "D", "n"):
            await seat.press(key)
        await seat.sees(run.id)

    play(tmp_path, scenario, screen="runs")


def test_a_study_shows_them_everywhere(tmp_path: Path) -> None:
    plan = make_plan({**QUICK}, {"lr": (0.1, 0.2)}, {"seeds": 1})
    base, *cells = plan.cells
    cells = [dataclasses.replace(cell, name=f"data={EVIL}{place}") for place, cell in enumerate(cells)]
    study = create_study(tmp_path, dataclasses.replace(plan, cells=(base, *cells)))

    async def scenario(seat: Seat) -> None:
        await seat.sees(study.id)
        await seat.press("enter")
        await seat.sees(f"data={EVIL}")
        for key in ("v", "e", "enter", "b", "escape"):
            await seat.press(key)

    play(tmp_path, scenario, screen="ablate")
