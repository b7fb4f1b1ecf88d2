"""Situations on each screen in which every key is pressed, and how one gets there."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from seats import Seat
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


async def _as_opened(seat: Seat) -> None:
    pass


async def _run_again(seat: Seat) -> None:
    """Out of the form, of the chart alone and of what stands in another tab."""
    screen = seat.screen
    assert isinstance(screen, TrainScreen)
    while screen.view == "new" or screen.maximized or screen.focused is not seat.live.query_one(Chart):
        await seat.press("escape")
    seat.live.show_tab("samples")
    await seat.pilot.pause()


async def _zoomed(seat: Seat) -> None:
    """So that there is more at either side, nearer and farther."""
    await seat.press("plus", "plus", "left")


async def _zoomed_again(seat: Seat) -> None:
    seat.screen.query_one(Chart).reset_view()
    await _zoomed(seat)


async def _inspector(seat: Seat) -> None:
    await seat.press("m")
    values = seat.screen.query_one("#values", HeatMap)
    await seat.until(lambda: len(values.rows) > 2)
    await _inspector_again(seat)
    await seat.until(lambda: " = " in str(seat.told("#graph-text")))


async def _inspector_again(seat: Seat) -> None:
    values = seat.screen.query_one("#values", HeatMap)
    values.focus()
    values.cursor = (1, 1)


async def _asked(seat: Seat) -> None:
    await seat.press("S")
    await seat.until(lambda: isinstance(seat.screen, ConfirmScreen))


async def _asked_again(seat: Seat) -> None:
    if isinstance(seat.screen, ConfirmScreen):
        await seat.press("escape")
    await _asked(seat)


async def helped(seat: Seat) -> None:
    if not isinstance(seat.screen, HelpScreen):
        await seat.press("question_mark")
    await seat.until(lambda: isinstance(seat.screen, HelpScreen))


async def _runs(seat: Seat) -> None:
    screen = seat.screen
    assert isinstance(screen, RunsScreen)
    await seat.until(lambda: screen.table.row_count)
    await seat.press("home", "down")


async def _runs_again(seat: Seat) -> None:
    """In the first order, without mark and filter."""
    screen = seat.screen
    assert isinstance(screen, RunsScreen)
    if screen.filter_input.display:
        await seat.press("escape")
    if screen.runs.marked_rows:
        await seat.press("space")
    while screen.runs.sort != (DEFAULT_SORT, False):
        await seat.press("O" if screen.runs.sort[1] else "o")
    await _runs(seat)


async def _detail(seat: Seat) -> None:
    await _runs(seat)
    seat.screen.query_one("#details").focus()
    await seat.pilot.pause()


async def _filtering(seat: Seat) -> None:
    await _runs(seat)
    await seat.press("slash", "f")


async def _difference(seat: Seat) -> None:
    await _runs(seat)
    await seat.press("space", "down", "space", "d")
    await seat.until(lambda: isinstance(seat.screen, CompareScreen))


async def _difference_again(seat: Seat) -> None:
    """The marks are still there."""
    if isinstance(seat.screen, CompareScreen):
        await seat.press("escape")
    await seat.press("d")
    await seat.until(lambda: isinstance(seat.screen, CompareScreen))


async def _page(seat: Seat) -> None:
    await _runs(seat)
    await seat.press("i")
    await seat.until(lambda: isinstance(seat.screen, TextPage))


async def _overlay(seat: Seat) -> None:
    await _runs(seat)
    await seat.press("space", "down", "space", "v")
    await seat.until(lambda: not seat.screen.query_one(Chart).data.is_empty)
    seat.screen.query_one(Chart).focus()
    await _zoomed(seat)


async def _spoken(seat: Seat) -> None:
    screen = seat.screen
    assert isinstance(screen, SampleScreen)
    await seat.until(lambda: screen.runs)
    for name, value in (("top_k", "1"), ("max_new_tokens", "2000")):  # greedy, it never ends: more than a page
        screen.query_one(f"#setting-{name} Input", Input).value = value
    await seat.press("enter")
    await seat.until(lambda: screen.generations.target.tokens and not screen.generations.is_generating)
    await _spoken_again(seat)


async def _spoken_again(seat: Seat) -> None:
    screen = seat.screen
    assert isinstance(screen, SampleScreen)
    if len(screen.generations.shown) > 1:
        await seat.press("b")
    if screen.generations.heat:
        await seat.press("h")
    pane = screen.generations.target
    if pane.is_generating or not pane.tokens:
        return  # a new request, or another pane
    view = pane.view
    view.focus()
    view.cursor = Place(0, 1000)
    await seat.pilot.pause()
    view.scroll_to(y=5, animate=False)  # with text above and below that is out of view
    await seat.pilot.pause()


async def _prompted(seat: Seat) -> None:
    await seat.until(lambda: seat.screen.runs)  # type: ignore[attr-defined]
    await seat.press("e")


async def _setting(seat: Seat) -> None:
    await seat.until(lambda: seat.screen.runs)  # type: ignore[attr-defined]
    await seat.press("comma")


async def _picking(seat: Seat) -> None:
    await _prompted(seat)
    await _picking_again(seat)


async def _picking_again(seat: Seat) -> None:
    await seat.press("escape", "c")
    await seat.until(lambda: isinstance(seat.screen, CheckpointPicker))
    await seat.press("down")


async def _list_again(seat: Seat) -> None:
    screen = seat.screen
    assert isinstance(screen, AblateScreen)
    if screen.view != "list":
        await seat.press("escape")


async def _studies(seat: Seat) -> None:
    """At the second of three."""
    screen = seat.screen
    assert isinstance(screen, AblateScreen)
    await seat.until(lambda: screen.studies.table.row_keys)
    await _list_again(seat)
    await seat.press("home", "down")


async def _study(seat: Seat) -> None:
    """At the second of three cells, over their curves."""
    screen = seat.screen
    assert isinstance(screen, AblateScreen)
    if screen.view == "editor":
        await seat.press("escape")
    if screen.view != "study":
        await _studies(seat)
        await seat.press("enter")
    await seat.until(lambda: screen.study.snapshot)
    if screen.study.part != "curves":
        await seat.press("v")
    screen.study.cells.focus()
    await seat.press("home", "down")


async def _curves(seat: Seat) -> None:
    await _study(seat)
    chart = seat.screen.query_one(Chart)
    await seat.until(lambda: "1 lr=" in chart.text and not chart.data.is_empty)
    chart.focus()
    await _zoomed_again(seat)


async def _effects(seat: Seat) -> None:
    await _study(seat)
    await seat.press("e")


async def _plan(seat: Seat) -> None:
    await seat.press("n")
    await seat.until(lambda: seat.screen.query(PlanEditor) and seat.screen.query_one(PlanEditor).preview)


class Situation(NamedTuple):
    """What is open, and of which classes every key is pressed there; or these keys only."""

    screen: str
    arrange: Callable[[Seat], Awaitable[None]]
    owners: tuple[type, ...]
    run: str = ""
    keys: tuple[str, ...] = ()
    again: Callable[[Seat], Awaitable[None]] | None = None  # brings back what a key has changed, if that can be
    lab: str = "recorded"  # the fixture with its results


SITUATIONS = {
    "form": Situation("train", _as_opened, (TrainScreen, NewRun)),
    "ended run": Situation("train", _as_opened, (TrainScreen,), "finished", again=_run_again),
    "live run": Situation("train", _as_opened, (TrainScreen,), "live", again=_run_again),
    "chart": Situation("train", _zoomed, (Chart,), "finished", again=_zoomed_again),
    "inspector": Situation("train", _inspector, (HeatMap,), "real", again=_inspector_again, lab="spoken"),
    "question": Situation("train", _asked, (ConfirmScreen,), "live", again=_asked_again),
    "help": Situation("train", helped, (HelpScreen,), "finished", again=helped),
    "runs": Situation("runs", _runs, (RunsScreen, RowTable), again=_runs_again),
    "one run": Situation("runs", _detail, (RunsScreen,), "", ("enter",)),
    "filter": Situation("runs", _filtering, (RunsScreen,), "", ("escape",)),
    "difference": Situation("runs", _difference, (CompareScreen,), again=_difference_again),
    "page": Situation("runs", _page, (TextPage,), again=_page),
    "overlay": Situation("runs", _overlay, (Chart,), "", ("y", "right", "c"), again=_zoomed_again),
    "speech": Situation("sample", _spoken, (SampleScreen, TokenView), again=_spoken_again, lab="spoken"),
    "prompt": Situation("sample", _prompted, (PromptPane,), lab="spoken"),
    "setting": Situation("sample", _setting, (SettingsBar,), lab="spoken"),
    "picker": Situation("sample", _picking, (CheckpointPicker,), again=_picking_again, lab="spoken"),
    "ablate": Situation("ablate", _as_opened, (DashboardApp, AblateScreen), again=_list_again),
    "studies": Situation("ablate", _studies, (AblateScreen, RowTable), again=_studies, lab="studied"),
    "study": Situation("ablate", _study, (AblateScreen, RowTable), again=_study, lab="studied"),
    "curves of a study": Situation("ablate", _curves, (Chart,), "", ("y", "right", "c"), _curves, "studied"),
    "effects": Situation("ablate", _effects, (AblateScreen,), "", ("e", "v", "w", "escape"), _effects, "studied"),
    "plan of a study": Situation("ablate", _plan, (PlanEditor,)),
}
