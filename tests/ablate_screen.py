"""Steps of tests of the ablate screen: open a study, plan one, read its tables."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from seats import Seat, seated
from textual.widgets import Input, Select, TextArea

from screens.ablate.editor import PlanEditor
from screens.ablate.screen import AblateScreen
from screens.ablate.study_view import StudyView
from screens.shared.settings_form import SettingRow
from screens.shared.table import RowTable

REFRESH_INTERVAL = 0.4  # seconds; no test should wait long for the next refresh


def ablate_screen(
    results: Path, size: tuple[int, int] = (120, 40), **options: Any
) -> AbstractAsyncContextManager[Seat]:
    """Open the dashboard on the ablate screen, with frequent refreshes."""
    return seated(results, size, screen="ablate", refresh_interval=REFRESH_INTERVAL, **options)


def screen_of(seat: Seat) -> AblateScreen:
    """Return the ablate screen, also while a dialog is in front."""
    screen = seat.app.screen_stack[0]
    assert isinstance(screen, AblateScreen)
    return screen


def table_of(seat: Seat) -> RowTable:
    """Return the table of studies."""
    return screen_of(seat).studies.table


def view_of(seat: Seat) -> StudyView:
    return screen_of(seat).study


def cell_names(seat: Seat) -> list[str]:
    """Return the names in the table of cells, in its order."""
    table = view_of(seat).cells
    return [table.cell_text(key, "cell") for key in table.row_keys]


async def wait_for_studies(seat: Seat) -> None:
    """Wait until the list of studies has been read."""
    await seat.until(lambda: screen_of(seat).studies.rows is not None)
    await seat.pilot.pause()


async def open_study(seat: Seat) -> None:
    """Open the study at the cursor, and wait until it has been read."""
    await wait_for_studies(seat)
    await seat.press("enter")
    await seat.until(lambda: view_of(seat).snapshot)
    await seat.pilot.pause()


async def wait_for_preview(seat: Seat) -> PlanEditor:
    """Wait until the editor shows the plan that follows from its entries."""
    await seat.until(lambda: seat.screen.query(PlanEditor) and seat.screen.query_one(PlanEditor).preview)
    return seat.screen.query_one(PlanEditor)


async def open_editor(seat: Seat) -> PlanEditor:
    await wait_for_studies(seat)
    await seat.press("n")
    return await wait_for_preview(seat)


async def type_axes(seat: Seat, axes: str) -> PlanEditor:
    """Type axes into the plan of a new study, and wait for its preview."""
    editor = await open_editor(seat)
    editor.query_one(TextArea).text = axes
    await seat.until(lambda: editor.preview and editor.preview.draft.axes == axes)
    return editor


async def enter_settings(seat: Seat, editor: PlanEditor, **settings: str) -> None:
    """Enter values of the study and of the base, and wait for the preview."""
    for row in editor.query(SettingRow):
        if row.field.name in settings:
            for entry in row.query(Input):
                entry.value = settings[row.field.name]
            for choice in row.query(Select):
                choice.value = settings[row.field.name]
    await seat.pilot.pause()
    await seat.until(lambda: editor.preview and editor.preview.draft == editor.draft)
