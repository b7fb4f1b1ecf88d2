"""The post-condition of every key binding, by its id.

A post-condition is called before the key is pressed, to remember what it compares with, and returns the check that is
made afterwards. The inventory test demands that the check fails before the key and holds after it.
"""

from typing import Any, TypeVar

from checks import (
    Check,
    PostCondition,
    becomes,
    both,
    changes,
    either,
    moves,
    opens,
    requests,
    says,
    when,
    writes,
)  # fmt: skip
from seats import Seat
from textual.screen import Screen
from textual.widgets import DataTable, TabbedContent

from screens.ablate.screen import AblateScreen
from screens.app import DashboardApp
from screens.chart import Chart
from screens.help import HelpScreen
from screens.runs.page import TextPage
from screens.runs.screen import RunsScreen
from screens.sample.checkpoint_picker import CheckpointPicker
from screens.sample.screen import SampleScreen
from screens.sample.settings_bar import SettingsBar
from screens.shared.settings_form import SettingsForm
from screens.train.screen import TrainScreen
from screens.widgets.confirm import ConfirmScreen
from screens.widgets.dialog import Palette
from screens.widgets.heat_map import HeatMap
from screens.widgets.token_layout import Place
from screens.widgets.token_view import TokenView

ScreenType = TypeVar("ScreenType", bound=Screen[Any])


def shows_mode(mode: str) -> PostCondition:
    return when(
        lambda seat: seat.app.current_mode == mode, says(f"{mode} screen is already open"), becomes(_mode, mode)
    )


def _mode(seat: Seat) -> str:
    return seat.app.current_mode


def _view(seat: Seat) -> Any:
    return getattr(seat.screen, "view", None) or getattr(seat.screen, "_view", None)


def _screen(seat: Seat, cls: type[ScreenType]) -> ScreenType:
    """The screen of that class, in front or not."""
    opened = [screen for stack in seat.app._screen_stacks.values() for screen in stack]
    return next(screen for screen in opened if isinstance(screen, cls))


LEAVES = becomes(lambda seat: seat.app._exit)
NOTHING_TO_CLOSE = says("There is nothing to close")


# --- the train screen -------------------------------------------------------------------------------


def _of_run(live: PostCondition, ended: PostCondition) -> PostCondition:
    in_view = when(lambda seat: seat.live.run_watch and seat.live.run_watch.is_live, live, ended)
    return when(lambda seat: _view(seat) == "live", in_view, says("No run is shown"))


def _tab(name: str) -> PostCondition:
    """It is shown; if it is already, it takes the keys, or a message says how to."""

    def active(seat: Seat) -> Any:
        return seat.screen.query_one(TabbedContent).active

    def has_focus(seat: Seat) -> bool:
        return seat.screen.query_one(f"TabPane#{name}").has_focus_within

    shown = when(
        lambda seat: active(seat) == name, either(becomes(has_focus), says("already in focus")), becomes(active, name)
    )
    return _of_run(shown, shown)


def _form_holds_the_settings(seat: Seat) -> bool:
    """The form is painted, with what was given to the run that was in view."""
    form = next(iter(seat.app.screen.query(SettingsForm)), None)
    return form is not None and bool(form.size) and bool(form.given)


_ENDED = says("is not running")
TRAIN: dict[str, PostCondition] = {
    "train.new": when(
        lambda seat: _view(seat) == "new",
        says("The form is already open"),
        becomes(lambda seat: _view(seat) == "new" and bool(seat.screen.query_one("#form").size)),
    ),
    "train.pause": _of_run(requests("pause"), _ENDED),
    "train.stop": _of_run(opens(ConfirmScreen), _ENDED),
    "train.resume": _of_run(says("already"), says("is finished")),
    "train.restart": _of_run(becomes(_form_holds_the_settings), becomes(_form_holds_the_settings)),
    "train.checkpoint": _of_run(requests("checkpoint"), _ENDED),
    "train.evaluate": _of_run(requests("evaluate"), _ENDED),
    "train.sample": _of_run(requests("sample"), _ENDED),
    **{f"train.{name}": _tab(name) for name in ("samples", "guards", "events", "log", "inspector")},
    "train.maximize": _of_run(*[becomes(lambda seat: isinstance(seat.screen.maximized, Chart))] * 2),
    "train.back": when(
        lambda seat: _view(seat) == "live" and seat.screen.focused is not seat.screen.query_one(Chart),
        becomes(lambda seat: seat.screen.query_one(Chart).has_focus),
        NOTHING_TO_CLOSE,
    ),
    "form.start": both(
        moves(lambda seat: len(list(seat.app.state.results.glob("runs/*/config.json"))), 1),
        becomes(lambda seat: _view(seat) == "live" and bool(seat.live.run_watch)),
    ),
}

# --- the runs screen --------------------------------------------------------------------------------


def _runs(seat: Seat) -> RunsScreen:
    return _screen(seat, RunsScreen)


def _row(seat: Seat) -> Any:
    return _runs(seat).runs.row_at_cursor


def _opens_the_run(seat: Seat) -> Check:
    run = _row(seat).run
    return lambda: (
        seat.app.current_mode == "train"
        and seat.app.state.selected == run
        and isinstance(seat.screen, TrainScreen)
        and _view(seat) == "live"
    )


def _line(seat: Seat) -> int:
    """Return the position of the cursor in the current table."""
    table = seat.screen.focused
    return table.cursor_row if isinstance(table, DataTable) else -1


def _last_line(seat: Seat) -> bool:
    table = seat.screen.focused
    return isinstance(table, DataTable) and table.cursor_row == table.row_count - 1 > 0


_BACK_TO_RUNS = becomes(lambda seat: isinstance(seat.screen, RunsScreen))
RUNS: dict[str, PostCondition] = {
    "runs.mark": changes(lambda seat: len(_runs(seat).runs.marked_rows)),
    "runs.compare": says("mark two"),
    "runs.overlay": says("with space"),
    "runs.filter": becomes(lambda seat: _runs(seat).filter_input.has_focus and _runs(seat).filter_input.display),
    "runs.sort": changes(lambda seat: _runs(seat).runs.sort[0]),
    "runs.reverse": both(
        changes(lambda seat: _runs(seat).runs.sort[1]), changes(lambda seat: _runs(seat).table.row_keys)
    ),
    "runs.pause": _ENDED,
    "runs.stop": _ENDED,
    "runs.resume": lambda seat: says(_row(seat).run.id)(seat),
    "runs.restart": becomes(_form_holds_the_settings),
    "runs.delete": opens(ConfirmScreen),
    "runs.sample": either(says("no checkpoint"), becomes(_mode, "sample")),
    "runs.guards": opens(TextPage),
    "runs.details": opens(TextPage),
    "runs.report": writes("reports/*"),
    "runs.open": _opens_the_run,
    "runs.back": when(
        lambda seat: _runs(seat).filter_input.has_focus,
        becomes(lambda seat: _runs(seat).table.has_focus),
        NOTHING_TO_CLOSE,
    ),
    "compare.all": changes(lambda seat: seat.screen.query_one(DataTable).row_count),
    "compare.close": _BACK_TO_RUNS,
    "page.close": _BACK_TO_RUNS,
}

# --- questions, help and what holds everywhere ------------------------------------------------------


def _stays_as_it_was(seat: Seat) -> Check:
    """The question is closed, and nothing was requested."""
    requested = requests("stop")(seat)
    return lambda: not isinstance(seat.screen, ConfirmScreen) and not requested()


EVERYWHERE: dict[str, PostCondition] = {
    **{f"open.{mode}": shows_mode(mode) for mode in DashboardApp.MODES},
    "leave": LEAVES,
    "leave.interrupt": LEAVES,
    "ctrl+q": LEAVES,
    "ctrl+p": opens(Palette),
    "help": opens(HelpScreen),
    "help.close": becomes(lambda seat: isinstance(seat.screen, TrainScreen)),
    "confirm.yes": both(requests("stop"), becomes(lambda seat: not isinstance(seat.screen, ConfirmScreen))),
    "confirm.no": _stays_as_it_was,
    "confirm.press": _stays_as_it_was,  # the cautious answer has the focus
    "confirm.other": changes(lambda seat: seat.screen.focused and seat.screen.focused.id),
}

# --- the chart and the heat maps --------------------------------------------------------------------


def _chart(seat: Seat) -> Chart:
    return seat.screen.query_one(Chart)


def _window(seat: Seat) -> Any:
    drawing = _chart(seat)._drawing
    assert drawing
    return drawing.view


def _cursor(seat: Seat) -> HeatMap:
    heat = seat.screen.focused
    assert isinstance(heat, HeatMap)
    return heat


CHART: dict[str, PostCondition] = {
    "chart.log": changes(lambda seat: _chart(seat).model.is_log),
    "chart.axis": changes(lambda seat: _chart(seat).model.axis),
    "chart.smooth": changes(lambda seat: _chart(seat).model.smoothing),
    "chart.follow": changes(lambda seat: _chart(seat).model.window.is_following),
    "chart.zoom_in": moves(lambda seat: _window(seat).span, sign=-1),
    "chart.zoom_out": moves(lambda seat: _window(seat).span, sign=1),
    "chart.reset_zoom": becomes(
        lambda seat: _chart(seat).model.window.is_whole and _chart(seat).model.window.is_following
    ),
    "chart.left": moves(lambda seat: _window(seat).start, sign=-1),
    "chart.right": moves(lambda seat: _window(seat).start, sign=1),
    "chart.cross": changes(lambda seat: _chart(seat).model.cross is None),
    "heat.up": moves(lambda seat: _cursor(seat).cursor[0], -1),
    "heat.down": moves(lambda seat: _cursor(seat).cursor[0], 1),
    "heat.left": moves(lambda seat: _cursor(seat).cursor[1], -1),
    "heat.right": moves(lambda seat: _cursor(seat).cursor[1], 1),
}

# --- the sample screen ------------------------------------------------------------------------------


def _sample(seat: Seat) -> SampleScreen:
    return _screen(seat, SampleScreen)


def _tokens(seat: Seat) -> TokenView:
    return _sample(seat).generations.target.view


def _token(seat: Seat) -> int:
    cursor = _tokens(seat).cursor
    return cursor.token if cursor else -1


def _token_line(seat: Seat) -> int:
    cursor = _tokens(seat).cursor
    return _tokens(seat)._cell_of(cursor)[1] if cursor else -1


def _seed(seat: Seat) -> int:
    return int(_sample(seat).settings.values["seed"])


def _highlighted(seat: Seat) -> Any:
    return isinstance(seat.screen, CheckpointPicker) and seat.screen.highlighted


_GENERATES = changes(lambda seat: id(_tokens(seat).token_layout))
_LEAVES_THE_ENTRY = becomes(lambda seat: _tokens(seat).has_focus)
SAMPLE: dict[str, PostCondition] = {
    "sample.generate": _GENERATES,
    "sample.stop": says("Nothing is generating"),
    "sample.edit": becomes(lambda seat: _sample(seat).prompt.has_focus),
    "sample.settings": becomes(lambda seat: seat.screen.query_one(SettingsBar).has_focus_within),
    "sample.choose": opens(CheckpointPicker),
    "sample.compare": either(
        becomes(lambda seat: len(_sample(seat).generations.shown), 2), says("No second checkpoint")
    ),
    "sample.shade": changes(lambda seat: _tokens(seat).heat),
    "sample.next_seed": both(moves(_seed, 1), _GENERATES),
    "sample.copy": says("Copied"),
    "sample.save": both(
        moves(lambda seat: len(list(seat.app.state.results.glob("runs/*/samples/*.txt"))), 1), says("Saved as")
    ),
    "sample.back": becomes(lambda seat: not _sample(seat).generations.has_cursor),
    "sample.leave": _LEAVES_THE_ENTRY,
    "tokens.left": moves(_token, -1),
    "tokens.right": moves(_token, 1),
    "tokens.up": moves(_token_line, -1),
    "tokens.down": moves(_token_line, 1),
    "tokens.home": becomes(lambda seat: _tokens(seat).cursor, Place(0, 0)),
    "tokens.end": becomes(lambda seat: _token(seat) == len(_sample(seat).generations.target.tokens) - 1),
    "tokens.page_up": moves(lambda seat: _tokens(seat).scroll_offset.y, sign=-1),
    "tokens.page_down": moves(lambda seat: _tokens(seat).scroll_offset.y, sign=1),
    "picker.back": becomes(lambda seat: isinstance(seat.screen, SampleScreen)),
    **{f"picker.{way}": changes(_highlighted) for way in ("up", "down", "page_up", "page_down")},
}

# --- the ablate screen ------------------------------------------------------------------------------


def _ablate(seat: Seat) -> AblateScreen:
    return _screen(seat, AblateScreen)


def _of_study(closed: PostCondition, opened: PostCondition) -> PostCondition:
    """Check the study at the cursor of the list, or the one that is open."""
    found = when(lambda seat: _view(seat) == "study", opened, closed)
    return when(lambda seat: _ablate(seat).studies.rows, found, says("No studies yet"))


def _part(name: str) -> PostCondition:
    """Shown; or hidden, if it was shown."""

    def shown(seat: Seat) -> str:
        return _ablate(seat).study.part

    return _of_study(
        says("enter to open a study"),
        when(lambda seat: shown(seat) == name, becomes(shown, ""), becomes(shown, name)),
    )


_EDITS = becomes(lambda seat: _view(seat) == "editor" and bool(seat.screen.query_one("#editor").size))
_OPENS_STUDY_OR_RUN = _of_study(becomes(_view, "study"), becomes(_mode, "train"))
ABLATE: dict[str, PostCondition] = {
    "ablate.new": _EDITS,
    "ablate.pause": _of_study(_ENDED, _ENDED),
    "ablate.stop": _of_study(_ENDED, _ENDED),
    "ablate.resume": _of_study(says("is finished"), says("is finished")),
    "ablate.curves": _part("curves"),
    "ablate.effects": _part("effects"),
    "ablate.base": _of_study(says("enter to open a study"), says("ompared with")),
    "ablate.report": _of_study(says("enter to open a study"), writes("reports/*")),
    "ablate.restart": _of_study(_EDITS, _EDITS),
    "ablate.open": _OPENS_STUDY_OR_RUN,
    "table.open": when(lambda seat: seat.app.current_mode == "runs", _opens_the_run, _OPENS_STUDY_OR_RUN),
    "ablate.back": when(
        lambda seat: _view(seat) == "study",
        either(becomes(_view, "list"), changes(lambda seat: _ablate(seat).study.part)),
        says("nothing to close"),
    ),
    "table.down": moves(_line, 1),
    "table.up": moves(_line, -1),
    "table.first": becomes(_line, 0),
    "table.last": becomes(_last_line),
    "ablate.start": both(
        moves(lambda seat: len(list(seat.app.state.results.glob("studies/*"))), 1), becomes(_view, "study")
    ),
}

POSTCONDITIONS: dict[str, PostCondition] = TRAIN | RUNS | EVERYWHERE | CHART | SAMPLE | ABLATE
