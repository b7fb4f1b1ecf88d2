"""Steps of tests of the ablate screen: open a study, plan one, read its tables."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from app_pilot import AppPilot, open_dashboard
from textual.widgets import Input, Select, TextArea

from screens.ablate.editor import PlanEditor
from screens.ablate.screen import AblateScreen
from screens.ablate.study_view import StudyView
from screens.shared.settings_form import SettingRow
from screens.shared.table import RowTable

REFRESH_INTERVAL = 0.4  # seconds; no test should wait long for the next refresh


def ablate_screen(
    results: Path, size: tuple[int, int] = (120, 40), **options: Any
) -> AbstractAsyncContextManager[AppPilot]:
    """Open the dashboard on the ablate screen, with frequent refreshes."""
    return open_dashboard(results, size, screen="ablate", refresh_interval=REFRESH_INTERVAL, **options)


def screen_of(pilot: AppPilot) -> AblateScreen:
    """Return the ablate screen, also while a dialog is in front."""
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, AblateScreen)
    return screen


def table_of(pilot: AppPilot) -> RowTable:
    """Return the table of studies."""
    return screen_of(pilot).studies.table


def view_of(pilot: AppPilot) -> StudyView:
    return screen_of(pilot).study


def cell_names(pilot: AppPilot) -> list[str]:
    """Return the names in the table of cells, in its order."""
    table = view_of(pilot).cells
    return [table.cell_text(key, "cell") for key in table.row_keys]


async def wait_for_studies(pilot: AppPilot) -> None:
    """Wait until the list of studies has been read."""
    await pilot.wait_until(lambda: screen_of(pilot).studies.rows is not None)
    await pilot.pause()


async def open_study(pilot: AppPilot) -> None:
    """Open the study at the cursor, and wait until it has been read."""
    await wait_for_studies(pilot)
    await pilot.press("enter")
    await pilot.wait_until(lambda: view_of(pilot).snapshot)
    await pilot.pause()


async def wait_for_preview(pilot: AppPilot) -> PlanEditor:
    """Wait until the editor shows the plan that follows from its entries."""
    await pilot.wait_until(lambda: pilot.screen.query(PlanEditor) and pilot.screen.query_one(PlanEditor).preview)
    return pilot.screen.query_one(PlanEditor)


async def open_editor(pilot: AppPilot) -> PlanEditor:
    await wait_for_studies(pilot)
    await pilot.press("n")
    return await wait_for_preview(pilot)


async def type_axes(pilot: AppPilot, axes: str) -> PlanEditor:
    """Type axes into the plan of a new study, and wait for its preview."""
    editor = await open_editor(pilot)
    editor.query_one(TextArea).text = axes
    await pilot.wait_until(lambda: editor.preview and editor.preview.draft.axes == axes)
    return editor


async def enter_settings(pilot: AppPilot, editor: PlanEditor, **settings: str) -> None:
    """Enter values of the study and of the base, and wait for the preview."""
    for row in editor.query(SettingRow):
        if row.field.name in settings:
            for entry in row.query(Input):
                entry.value = settings[row.field.name]
            for choice in row.query(Select):
                choice.value = settings[row.field.name]
    await pilot.pause()
    await pilot.wait_until(lambda: editor.preview and editor.preview.draft == editor.draft)
