"""Situations on each screen in which the inventory test presses every key, and how to reach them."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from app_pilot import AppPilot
from textual.widgets import Input

from screens.ablate.editor import PlanEditor
from screens.ablate.screen import AblateScreen
from screens.app import DashboardApp
from screens.chart import Chart
from screens.help import HelpScreen
from screens.runs.columns import DEFAULT_SORT
from screens.runs.compare import CompareScreen
from screens.runs.page import TextPage
from screens.runs.screen import RunsScreen
from screens.sample.checkpoint_picker import CheckpointPicker
from screens.sample.prompt import PromptPane
from screens.sample.screen import SampleScreen
from screens.sample.settings_bar import SettingsBar
from screens.shared.table import RowTable
from screens.train.new_run import NewRun
from screens.train.screen import TrainScreen
from screens.widgets.confirm import ConfirmScreen
from screens.widgets.heat_map import HeatMap
from screens.widgets.token_layout import Place
from screens.widgets.token_view import TokenView


async def leave_as_opened(pilot: AppPilot) -> None:
    pass


async def reset_train_screen(pilot: AppPilot) -> None:
    """Close the form and the maximized chart, focus the chart, and show the first tab."""
    screen = pilot.screen
    assert isinstance(screen, TrainScreen)
    while screen.view == "new" or screen.maximized or screen.focused is not pilot.live.query_one(Chart):
        await pilot.press("escape")
    pilot.live.show_tab("samples")
    await pilot.pause()


async def zoom_in(pilot: AppPilot) -> None:
    """Zoom so that the view can be moved to both sides, and zoomed in and out."""
    await pilot.press("plus", "plus", "left")


async def reset_zoom(pilot: AppPilot) -> None:
    pilot.screen.query_one(Chart).reset_view()
    await zoom_in(pilot)


async def open_inspector(pilot: AppPilot) -> None:
    await pilot.press("m")
    values = pilot.screen.query_one("#values", HeatMap)
    await pilot.wait_until(lambda: len(values.rows) > 2)
    await focus_values(pilot)
    await pilot.wait_until(lambda: " = " in str(pilot.text_of("#graph-text")))


async def focus_values(pilot: AppPilot) -> None:
    values = pilot.screen.query_one("#values", HeatMap)
    values.focus()
    values.cursor = (1, 1)


async def open_confirmation(pilot: AppPilot) -> None:
    await pilot.press("S")
    await pilot.wait_until(lambda: isinstance(pilot.screen, ConfirmScreen))


async def reopen_confirmation(pilot: AppPilot) -> None:
    if isinstance(pilot.screen, ConfirmScreen):
        await pilot.press("escape")
    await open_confirmation(pilot)


async def open_help(pilot: AppPilot) -> None:
    if not isinstance(pilot.screen, HelpScreen):
        await pilot.press("question_mark")
    await pilot.wait_until(lambda: isinstance(pilot.screen, HelpScreen))


async def select_second_run(pilot: AppPilot) -> None:
    screen = pilot.screen
    assert isinstance(screen, RunsScreen)
    await pilot.wait_until(lambda: screen.table.row_count)
    await pilot.press("home", "down")


async def reset_runs(pilot: AppPilot) -> None:
    """Restore the order of the table, and remove marks and filter."""
    screen = pilot.screen
    assert isinstance(screen, RunsScreen)
    if screen.filter_input.display:
        await pilot.press("escape")
    if screen.runs.marked_rows:
        await pilot.press("space")
    while screen.runs.sort != (DEFAULT_SORT, False):
        await pilot.press("O" if screen.runs.sort[1] else "o")
    await select_second_run(pilot)


async def focus_details(pilot: AppPilot) -> None:
    await select_second_run(pilot)
    pilot.screen.query_one("#details").focus()
    await pilot.pause()


async def type_filter(pilot: AppPilot) -> None:
    await select_second_run(pilot)
    await pilot.press("slash", "f")


async def open_comparison(pilot: AppPilot) -> None:
    await select_second_run(pilot)
    await pilot.press("space", "down", "space", "d")
    await pilot.wait_until(lambda: isinstance(pilot.screen, CompareScreen))


async def reopen_comparison(pilot: AppPilot) -> None:
    """Open the comparison again; the runs are still marked."""
    if isinstance(pilot.screen, CompareScreen):
        await pilot.press("escape")
    await pilot.press("d")
    await pilot.wait_until(lambda: isinstance(pilot.screen, CompareScreen))


async def open_details(pilot: AppPilot) -> None:
    await select_second_run(pilot)
    await pilot.press("i")
    await pilot.wait_until(lambda: isinstance(pilot.screen, TextPage))


async def open_overlay(pilot: AppPilot) -> None:
    await select_second_run(pilot)
    await pilot.press("space", "down", "space", "v")
    await pilot.wait_until(lambda: not pilot.screen.query_one(Chart).data.is_empty)
    pilot.screen.query_one(Chart).focus()
    await zoom_in(pilot)


async def generate_long_text(pilot: AppPilot) -> None:
    screen = pilot.screen
    assert isinstance(screen, SampleScreen)
    await pilot.wait_until(lambda: screen.runs)
    for name, value in (
        ("top_k", "1"),
        ("max_new_tokens", "2000"),
    ):  # greedy sampling never ends here: more than a page
        screen.query_one(f"#setting-{name} Input", Input).value = value
    await pilot.press("enter")
    await pilot.wait_until(lambda: screen.generations.target.tokens and not screen.generations.is_generating)
    await select_middle_token(pilot)


async def select_middle_token(pilot: AppPilot) -> None:
    screen = pilot.screen
    assert isinstance(screen, SampleScreen)
    if len(screen.generations.shown) > 1:
        await pilot.press("b")
    if screen.generations.heat:
        await pilot.press("h")
    pane = screen.generations.target
    if pane.is_generating or not pane.tokens:
        return  # a new request, or another pane is shown
    view = pane.view
    view.focus()
    view.cursor = Place(0, 1000)
    await pilot.pause()
    view.scroll_to(y=5, animate=False)  # so that text above and below is out of view
    await pilot.pause()


async def focus_prompt(pilot: AppPilot) -> None:
    await pilot.wait_until(lambda: pilot.screen.runs)  # type: ignore[attr-defined]
    await pilot.press("e")


async def focus_settings(pilot: AppPilot) -> None:
    await pilot.wait_until(lambda: pilot.screen.runs)  # type: ignore[attr-defined]
    await pilot.press("comma")


async def open_picker(pilot: AppPilot) -> None:
    await focus_prompt(pilot)
    await reopen_picker(pilot)


async def reopen_picker(pilot: AppPilot) -> None:
    await pilot.press("escape", "c")
    await pilot.wait_until(lambda: isinstance(pilot.screen, CheckpointPicker))
    await pilot.press("down")


async def close_study(pilot: AppPilot) -> None:
    screen = pilot.screen
    assert isinstance(screen, AblateScreen)
    if screen.view != "list":
        await pilot.press("escape")


async def select_second_study(pilot: AppPilot) -> None:
    """Move the cursor to the second of three studies."""
    screen = pilot.screen
    assert isinstance(screen, AblateScreen)
    await pilot.wait_until(lambda: screen.studies.table.row_keys)
    await close_study(pilot)
    await pilot.press("home", "down")


async def open_study(pilot: AppPilot) -> None:
    """Open a study with its curves, and move the cursor to the second of three cells."""
    screen = pilot.screen
    assert isinstance(screen, AblateScreen)
    if screen.view == "editor":
        await pilot.press("escape")
    if screen.view != "study":
        await select_second_study(pilot)
        await pilot.press("enter")
    await pilot.wait_until(lambda: screen.study.snapshot)
    if screen.study.part != "curves":
        await pilot.press("v")
    screen.study.cells.focus()
    await pilot.press("home", "down")


async def focus_curves(pilot: AppPilot) -> None:
    await open_study(pilot)
    chart = pilot.screen.query_one(Chart)
    await pilot.wait_until(lambda: "1 lr=" in chart.text and not chart.data.is_empty)
    chart.focus()
    await reset_zoom(pilot)


async def show_effects(pilot: AppPilot) -> None:
    await open_study(pilot)
    await pilot.press("e")


async def open_editor(pilot: AppPilot) -> None:
    await pilot.press("n")
    await pilot.wait_until(lambda: pilot.screen.query(PlanEditor) and pilot.screen.query_one(PlanEditor).preview)


class Situation(NamedTuple):
    """A state of the dashboard, and the classes whose keys are pressed in it, or these keys only."""

    screen: str
    arrange: Callable[[AppPilot], Awaitable[None]]
    owners: tuple[type, ...]
    run: str = ""
    keys: tuple[str, ...] = ()
    restore: Callable[[AppPilot], Awaitable[None]] | None = None  # undoes what a key has changed, if that is possible
    results: str = "recorded_results"  # name of a fixture


SITUATIONS = {
    "form": Situation("train", leave_as_opened, (TrainScreen, NewRun)),
    "ended run": Situation("train", leave_as_opened, (TrainScreen,), "finished", restore=reset_train_screen),
    "live run": Situation("train", leave_as_opened, (TrainScreen,), "live", restore=reset_train_screen),
    "chart": Situation("train", zoom_in, (Chart,), "finished", restore=reset_zoom),
    "inspector": Situation(
        "train", open_inspector, (HeatMap,), "trained", restore=focus_values, results="trained_results"
    ),
    "confirmation": Situation("train", open_confirmation, (ConfirmScreen,), "live", restore=reopen_confirmation),
    "help": Situation("train", open_help, (HelpScreen,), "finished", restore=open_help),
    "runs": Situation("runs", select_second_run, (RunsScreen, RowTable), restore=reset_runs),
    "one run": Situation("runs", focus_details, (RunsScreen,), "", ("enter",)),
    "filter": Situation("runs", type_filter, (RunsScreen,), "", ("escape",)),
    "comparison": Situation("runs", open_comparison, (CompareScreen,), restore=reopen_comparison),
    "page": Situation("runs", open_details, (TextPage,), restore=open_details),
    "overlay": Situation("runs", open_overlay, (Chart,), "", ("y", "right", "c"), restore=reset_zoom),
    "generated text": Situation(
        "sample", generate_long_text, (SampleScreen, TokenView), restore=select_middle_token, results="trained_results"
    ),
    "prompt": Situation("sample", focus_prompt, (PromptPane,), results="trained_results"),
    "setting": Situation("sample", focus_settings, (SettingsBar,), results="trained_results"),
    "picker": Situation("sample", open_picker, (CheckpointPicker,), restore=reopen_picker, results="trained_results"),
    "ablate": Situation("ablate", leave_as_opened, (DashboardApp, AblateScreen), restore=close_study),
    "studies": Situation(
        "ablate", select_second_study, (AblateScreen, RowTable), restore=select_second_study, results="study_results"
    ),
    "study": Situation("ablate", open_study, (AblateScreen, RowTable), restore=open_study, results="study_results"),
    "curves of a study": Situation(
        "ablate", focus_curves, (Chart,), "", ("y", "right", "c"), focus_curves, "study_results"
    ),
    "effects": Situation(
        "ablate", show_effects, (AblateScreen,), "", ("e", "v", "w", "escape"), show_effects, "study_results"
    ),
    "plan of a study": Situation("ablate", open_editor, (PlanEditor,)),
}
