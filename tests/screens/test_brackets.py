"""Brackets in the names and texts of users and runs are shown as they are, not read as markup."""

import asyncio
import dataclasses
from pathlib import Path

from app_pilot import QUICK, add_run, open_dashboard
from patience import PATIENCE
from textual.widgets import Input
from textual_internals import screen_text

from engines.ablation.plan import make_plan
from engines.ablation.study import create_study
from screens.app import DashboardApp

EVIL = "[/b] [red]x"


async def test_toasts_show_brackets_of_names(tmp_path: Path) -> None:
    app = DashboardApp(tmp_path)
    async with asyncio.timeout(PATIENCE), app.run_test(size=(120, 40), notifications=True) as pilot:
        app.screen.notify(f"{EVIL}\x1b[31m does not exist", timeout=60)
        while f"{EVIL}␛[31m does not exist" not in screen_text(app):
            await pilot.pause(0.05)


async def test_every_entry_of_the_form_shows_brackets(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        entries = list(pilot.screen.query("SettingRow Input").results(Input))
        for entry in entries:
            entry.value = EVIL
        await pilot.pause()
        await pilot.wait_for_text(f"not '{EVIL}'.")
        await pilot.press("f5")
        assert any(EVIL in words for words in pilot.app.toasts)
        assert len(entries) > 3


async def test_every_view_of_a_run_shows_brackets(tmp_path: Path) -> None:
    run = add_run(tmp_path, "finished", "[b]owl", data=f"/lab/{EVIL}.txt", prompt=EVIL)
    async with open_dashboard(tmp_path, screen="runs") as pilot:
        for key in ("2", "enter", "1", "3", "c", "escape", "2", "d", "escape", "D", "n"):
            await pilot.press(key)
        await pilot.wait_for_text(run.id)


async def test_every_view_of_a_study_shows_brackets(tmp_path: Path) -> None:
    plan = make_plan({**QUICK}, {"lr": (0.1, 0.2)}, {"seeds": 1})
    base, *cells = plan.cells
    cells = [dataclasses.replace(cell, name=f"data={EVIL}{place}") for place, cell in enumerate(cells)]
    study = create_study(tmp_path, dataclasses.replace(plan, cells=(base, *cells)))
    async with open_dashboard(tmp_path, screen="ablate") as pilot:
        await pilot.wait_for_text(study.id)
        await pilot.press("enter")
        await pilot.wait_for_text(f"data={EVIL}")
        for key in ("v", "e", "enter", "b", "escape"):
            await pilot.press(key)
