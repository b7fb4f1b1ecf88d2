"""The post-condition of every key binding, by the id of the binding.

A post-condition is called before the key is pressed, to record what it compares with, and returns the check to make
afterwards. The inventory test requires that the check fails before the key and passes after it.
"""

from typing import Any, TypeVar

from app_pilot import AppPilot
from checks import (
    Check,
    PostCondition,
    becomes,
    both,
    changes,
    either,
    moves,
    notifies,
    opens,
    requests,
    when,
    writes,
)  # fmt: skip
from textual.screen import Screen
from textual.widgets import DataTable, TabbedContent
from textual_internals import opened_screens

from screens.ablate.screen import AblateScreen
from screens.app import DashboardApp
from screens.chart import Chart
from screens.commands import Palette
from screens.help import HelpScreen
from screens.runs.page import TextPage
from screens.runs.screen import RunsScreen
from screens.sample.checkpoint_picker import CheckpointPicker
from screens.sample.screen import SampleScreen
from screens.sample.settings_bar import SettingsBar
from screens.shared.settings_form import SettingsForm
from screens.train.screen import TrainScreen
from screens.widgets.confirm import ConfirmScreen
from screens.widgets.heat_map import HeatMap
from screens.widgets.token_layout import Place
from screens.widgets.token_view import TokenView

ScreenType = TypeVar("ScreenType", bound=Screen[Any])


def shows_mode(mode: str) -> PostCondition:
    return when(
        lambda pilot: pilot.app.current_mode == mode, notifies(f"{mode} screen is already open"), becomes(_mode, mode)
    )


def _mode(pilot: AppPilot) -> str:
    return pilot.app.current_mode


def _view(pilot: AppPilot) -> Any:
    return getattr(pilot.screen, "view", None)


def _screen(pilot: AppPilot, cls: type[ScreenType]) -> ScreenType:
    """Return the open screen of a class, in front or not."""
    return next(screen for screen in opened_screens(pilot.app) if isinstance(screen, cls))


EXITS = becomes(lambda pilot: pilot.has_exited)
NOTHING_TO_CLOSE = notifies("There is nothing to close")


# --- the train screen -------------------------------------------------------------------------------


def _of_run(live: PostCondition, ended: PostCondition) -> PostCondition:
    in_view = when(lambda pilot: pilot.live.run_watch and pilot.live.run_watch.is_live, live, ended)
    return when(lambda pilot: _view(pilot) == "live", in_view, notifies("No run is open"))


def _tab(name: str) -> PostCondition:
    """Check that a tab is shown; if it was, that it gets the focus or has it already."""

    def active(pilot: AppPilot) -> Any:
        return pilot.screen.query_one(TabbedContent).active

    def has_focus(pilot: AppPilot) -> bool:
        return pilot.screen.query_one(f"TabPane#{name}").has_focus_within

    shown = when(
        lambda pilot: active(pilot) == name,
        either(becomes(has_focus), notifies("has the focus already")),
        becomes(active, name),
    )
    return _of_run(shown, shown)


def _is_form_filled(pilot: AppPilot) -> bool:
    """Return whether the form is shown with the options of the run that was shown before."""
    form = next(iter(pilot.app.screen.query(SettingsForm)), None)
    return form is not None and bool(form.size) and bool(form.given)


_ENDED = notifies("is not running")
TRAIN: dict[str, PostCondition] = {
    "train.new": when(
        lambda pilot: _view(pilot) == "new",
        notifies("The form is already open"),
        becomes(lambda pilot: _view(pilot) == "new" and bool(pilot.screen.query_one("#form").size)),
    ),
    "train.pause": _of_run(requests("pause"), _ENDED),
    "train.stop": _of_run(opens(ConfirmScreen), _ENDED),
    "train.resume": _of_run(notifies("already"), notifies("is finished")),
    "train.restart": _of_run(becomes(_is_form_filled), becomes(_is_form_filled)),
    "train.checkpoint": _of_run(requests("checkpoint"), _ENDED),
    "train.evaluate": _of_run(requests("evaluate"), _ENDED),
    "train.sample": _of_run(requests("sample"), _ENDED),
    **{f"train.{name}": _tab(name) for name in ("samples", "guards", "events", "log", "inspector")},
    "train.maximize": _of_run(*[becomes(lambda pilot: isinstance(pilot.screen.maximized, Chart))] * 2),
    "train.back": when(
        lambda pilot: _view(pilot) == "live" and pilot.screen.focused is not pilot.screen.query_one(Chart),
        becomes(lambda pilot: pilot.screen.query_one(Chart).has_focus),
        NOTHING_TO_CLOSE,
    ),
    "form.start": both(
        moves(lambda pilot: len(list(pilot.app.state.results.glob("runs/*/config.json"))), 1),
        becomes(lambda pilot: _view(pilot) == "live" and bool(pilot.live.run_watch)),
    ),
}

# --- the runs screen --------------------------------------------------------------------------------


def _runs(pilot: AppPilot) -> RunsScreen:
    return _screen(pilot, RunsScreen)


def _run_row(pilot: AppPilot) -> Any:
    return _runs(pilot).runs.row_at_cursor


def _opens_the_run(pilot: AppPilot) -> Check:
    run = _run_row(pilot).run
    return lambda: (
        pilot.app.current_mode == "train"
        and pilot.app.state.selected == run
        and isinstance(pilot.screen, TrainScreen)
        and _view(pilot) == "live"
    )


def _cursor_row(pilot: AppPilot) -> int:
    """Return the row of the cursor in the table that has the focus; -1 without one."""
    table = pilot.screen.focused
    return table.cursor_row if isinstance(table, DataTable) else -1


def _is_at_last_row(pilot: AppPilot) -> bool:
    table = pilot.screen.focused
    return isinstance(table, DataTable) and table.cursor_row == table.row_count - 1 > 0


_BACK_TO_RUNS = becomes(lambda pilot: isinstance(pilot.screen, RunsScreen))
RUNS: dict[str, PostCondition] = {
    "runs.mark": changes(lambda pilot: len(_runs(pilot).runs.marked_rows)),
    "runs.compare": notifies("Mark two"),
    "runs.overlay": notifies("with space"),
    "runs.filter": becomes(lambda pilot: _runs(pilot).filter_input.has_focus and _runs(pilot).filter_input.display),
    "runs.sort": changes(lambda pilot: _runs(pilot).runs.sort[0]),
    "runs.reverse": both(
        changes(lambda pilot: _runs(pilot).runs.sort[1]), changes(lambda pilot: _runs(pilot).table.row_keys)
    ),
    "runs.pause": _ENDED,
    "runs.stop": _ENDED,
    "runs.resume": lambda pilot: notifies(_run_row(pilot).run.id)(pilot),
    "runs.restart": becomes(_is_form_filled),
    "runs.delete": opens(ConfirmScreen),
    "runs.sample": either(notifies("no checkpoint"), becomes(_mode, "sample")),
    "runs.guards": opens(TextPage),
    "runs.details": opens(TextPage),
    "runs.report": writes("reports/*"),
    "runs.open": _opens_the_run,
    "runs.back": when(
        lambda pilot: _runs(pilot).filter_input.has_focus,
        becomes(lambda pilot: _runs(pilot).table.has_focus),
        NOTHING_TO_CLOSE,
    ),
    "compare.all": changes(lambda pilot: pilot.screen.query_one(DataTable).row_count),
    "compare.close": _BACK_TO_RUNS,
    "page.close": _BACK_TO_RUNS,
}

# --- confirmations, help and keys of all screens ---------------------------------------------------


def _closes_without_request(pilot: AppPilot) -> Check:
    """Check that the confirmation is closed, and that nothing was requested."""
    requested = requests("stop")(pilot)
    return lambda: not isinstance(pilot.screen, ConfirmScreen) and not requested()


EVERYWHERE: dict[str, PostCondition] = {
    **{f"open.{mode}": shows_mode(mode) for mode in DashboardApp.MODES},
    "leave": EXITS,
    "leave.interrupt": EXITS,
    "ctrl+q": EXITS,
    "palette": opens(Palette),
    "help": opens(HelpScreen),
    "help.close": becomes(lambda pilot: isinstance(pilot.screen, TrainScreen)),
    "confirm.yes": both(requests("stop"), becomes(lambda pilot: not isinstance(pilot.screen, ConfirmScreen))),
    "confirm.no": _closes_without_request,
    "confirm.press": _closes_without_request,  # the answer `no` has the focus
    "confirm.other": changes(lambda pilot: pilot.screen.focused and pilot.screen.focused.id),
}

# --- the chart and the heat maps --------------------------------------------------------------------


def _chart(pilot: AppPilot) -> Chart:
    return pilot.screen.query_one(Chart)


def _window(pilot: AppPilot) -> Any:
    chart = _chart(pilot)
    return chart.model.view(chart.size.width)


def _cursor(pilot: AppPilot) -> HeatMap:
    heat = pilot.screen.focused
    assert isinstance(heat, HeatMap)
    return heat


CHART: dict[str, PostCondition] = {
    "chart.log": changes(lambda pilot: _chart(pilot).model.is_log),
    "chart.axis": changes(lambda pilot: _chart(pilot).model.axis),
    "chart.smooth": changes(lambda pilot: _chart(pilot).model.smoothing),
    "chart.follow": changes(lambda pilot: _chart(pilot).model.window.is_following),
    "chart.zoom_in": moves(lambda pilot: _window(pilot).span, sign=-1),
    "chart.zoom_out": moves(lambda pilot: _window(pilot).span, sign=1),
    "chart.reset_zoom": becomes(
        lambda pilot: _chart(pilot).model.window.is_whole and _chart(pilot).model.window.is_following
    ),
    "chart.left": moves(lambda pilot: _window(pilot).start, sign=-1),
    "chart.right": moves(lambda pilot: _window(pilot).start, sign=1),
    "chart.cross": changes(lambda pilot: _chart(pilot).model.cross is None),
    "heat.up": moves(lambda pilot: _cursor(pilot).cursor[0], -1),
    "heat.down": moves(lambda pilot: _cursor(pilot).cursor[0], 1),
    "heat.left": moves(lambda pilot: _cursor(pilot).cursor[1], -1),
    "heat.right": moves(lambda pilot: _cursor(pilot).cursor[1], 1),
}

# --- the sample screen ------------------------------------------------------------------------------


def _sample(pilot: AppPilot) -> SampleScreen:
    return _screen(pilot, SampleScreen)


def _tokens(pilot: AppPilot) -> TokenView:
    return _sample(pilot).generations.target.view


def _token(pilot: AppPilot) -> int:
    cursor = _tokens(pilot).cursor
    return cursor.token if cursor else -1


def _token_line(pilot: AppPilot) -> int:
    cursor = _tokens(pilot).cursor
    return _tokens(pilot).token_layout.line_of(cursor) if cursor else -1


def _seed(pilot: AppPilot) -> int:
    return int(_sample(pilot).settings.values["seed"])


def _highlighted(pilot: AppPilot) -> Any:
    return isinstance(pilot.screen, CheckpointPicker) and pilot.screen.highlighted


_GENERATES = changes(lambda pilot: id(_tokens(pilot).token_layout))
_MOVES_FOCUS_TO_TOKENS = becomes(lambda pilot: _tokens(pilot).has_focus)
SAMPLE: dict[str, PostCondition] = {
    "sample.generate": _GENERATES,
    "sample.stop": notifies("Nothing is generating"),
    "sample.edit": becomes(lambda pilot: _sample(pilot).prompt.has_focus),
    "sample.settings": becomes(lambda pilot: pilot.screen.query_one(SettingsBar).has_focus_within),
    "sample.choose": opens(CheckpointPicker),
    "sample.compare": either(
        becomes(lambda pilot: len(_sample(pilot).generations.shown), 2), notifies("No second checkpoint")
    ),
    "sample.shade": changes(lambda pilot: _tokens(pilot).heat),
    "sample.next_seed": both(moves(_seed, 1), _GENERATES),
    "sample.copy": notifies("Copied"),
    "sample.save": both(
        moves(lambda pilot: len(list(pilot.app.state.results.glob("runs/*/samples/*.txt"))), 1), notifies("Saved as")
    ),
    "sample.back": becomes(lambda pilot: not _sample(pilot).generations.has_cursor),
    "sample.leave": _MOVES_FOCUS_TO_TOKENS,
    "tokens.left": moves(_token, -1),
    "tokens.right": moves(_token, 1),
    "tokens.up": moves(_token_line, -1),
    "tokens.down": moves(_token_line, 1),
    "tokens.home": becomes(lambda pilot: _tokens(pilot).cursor, Place(0, 0)),
    "tokens.end": becomes(lambda pilot: _token(pilot) == len(_sample(pilot).generations.target.tokens) - 1),
    "tokens.page_up": moves(lambda pilot: _tokens(pilot).scroll_offset.y, sign=-1),
    "tokens.page_down": moves(lambda pilot: _tokens(pilot).scroll_offset.y, sign=1),
    "picker.back": becomes(lambda pilot: isinstance(pilot.screen, SampleScreen)),
    **{f"picker.{way}": changes(_highlighted) for way in ("up", "down", "page_up", "page_down")},
}

# --- the ablate screen ------------------------------------------------------------------------------


def _ablate(pilot: AppPilot) -> AblateScreen:
    return _screen(pilot, AblateScreen)


def _of_study(closed: PostCondition, opened: PostCondition) -> PostCondition:
    """Check the study at the cursor of the list, or the one that is open."""
    found = when(lambda pilot: _view(pilot) == "study", opened, closed)
    return when(lambda pilot: _ablate(pilot).studies.rows, found, notifies("No studies yet"))


def _part(name: str) -> PostCondition:
    """Check that a part of the study is shown, or hidden if it was shown."""

    def shown(pilot: AppPilot) -> str:
        return _ablate(pilot).study.part

    return _of_study(
        notifies("enter to open a study"),
        when(lambda pilot: shown(pilot) == name, becomes(shown, ""), becomes(shown, name)),
    )


_EDITS = becomes(lambda pilot: _view(pilot) == "editor" and bool(pilot.screen.query_one("#editor").size))
_OPENS_STUDY_OR_RUN = _of_study(becomes(_view, "study"), becomes(_mode, "train"))
ABLATE: dict[str, PostCondition] = {
    "ablate.new": _EDITS,
    "ablate.pause": _of_study(_ENDED, _ENDED),
    "ablate.stop": _of_study(_ENDED, _ENDED),
    "ablate.resume": _of_study(notifies("is finished"), notifies("is finished")),
    "ablate.curves": _part("curves"),
    "ablate.effects": _part("effects"),
    "ablate.base": _of_study(notifies("enter to open a study"), notifies("ompared with")),
    "ablate.report": _of_study(notifies("enter to open a study"), writes("reports/*")),
    "ablate.restart": _of_study(_EDITS, _EDITS),
    "ablate.open": _OPENS_STUDY_OR_RUN,
    "table.open": when(lambda pilot: pilot.app.current_mode == "runs", _opens_the_run, _OPENS_STUDY_OR_RUN),
    "ablate.back": when(
        lambda pilot: _view(pilot) == "study",
        either(becomes(_view, "list"), changes(lambda pilot: _ablate(pilot).study.part)),
        notifies("nothing to close"),
    ),
    "table.down": moves(_cursor_row, 1),
    "table.up": moves(_cursor_row, -1),
    "table.first": becomes(_cursor_row, 0),
    "table.last": becomes(_is_at_last_row),
    "ablate.start": both(
        moves(lambda pilot: len(list(pilot.app.state.results.glob("studies/*"))), 1), becomes(_view, "study")
    ),
}

POSTCONDITIONS: dict[str, PostCondition] = TRAIN | RUNS | EVERYWHERE | CHART | SAMPLE | ABLATE
