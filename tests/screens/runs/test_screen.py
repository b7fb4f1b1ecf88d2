"""The runs screen over real run directories: found, sorted, compared and commanded, at every size of terminal."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import seats
from builders import finished_run, make_run
from patience import PATIENCE
from seats import add_run, append, held
from textual.app import App
from textual.widgets import DataTable, Input

from engines.runs.launch import launch
from engines.runs.liveness import GLYPHS
from engines.runs.lookup import add_used_results_dir
from engines.runs.store import Run
from screens.app import DashboardApp
from screens.messages import FormRequested, RunSelected, RunsRefreshed, SampleRequested
from screens.runs.difference import DifferenceScreen
from screens.runs.page import Page
from screens.runs.screen import RunsScreen
from screens.runs.table import RunsTable
from screens.shared.background import is_idle
from screens.shared.settings_form import SettingsForm
from screens.state import AppState
from screens.themes import SERIES, THEMES
from screens.train.screen import TrainScreen
from screens.widgets.confirm import ConfirmScreen

SIZES = [(20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]


class RunsApp(App[None]):
    """The app as far as this screen needs it."""

    CSS_PATH = str(Path(__file__).parents[3] / "screens" / "app.tcss")
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (60, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (18, "-low"), (30, "-high")]

    def __init__(self, results: Path, **given: Any) -> None:
        super().__init__()
        self.state = AppState(results, **given)
        self.said: list[str] = []
        self.wanted: list[Any] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return SERIES

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        self.set_class(self.state.ascii, "-ascii")
        self.push_screen(RunsScreen())

    def refresh_runs(self) -> None:
        self.state.watches = self.state.board.refresh()
        self.screen.post_message(RunsRefreshed())

    def notify(self, message: str, **_: Any) -> None:  # type: ignore[override]
        self.said.append(message)

    def on_run_selected(self, message: RunSelected) -> None:
        self.wanted.append(message)

    on_sample_requested = on_form_requested = on_run_selected


class Seat(seats.Seat):
    """Knows the table."""

    app: RunsApp

    @property
    def screen(self) -> RunsScreen:
        return next(screen for screen in self.app.screen_stack if isinstance(screen, RunsScreen))

    @property
    def ids(self) -> list[str]:
        """Of the runs in the table, in its order."""
        return [Path(str(row.key.value)).name for row in self.screen.table.ordered_rows]

    @property
    def at_cursor(self) -> str:
        return self.ids[self.screen.table.cursor_row]

    def cell(self, run_id: str, column: str) -> str:
        table = self.screen.table
        key = next(key for key in table.rows if str(key.value).endswith(f"/{run_id}"))
        return str(table.get_cell(key, column))

    async def refresh(self) -> None:
        self.app.refresh_runs()
        await self.pilot.pause()
        await self.until(is_idle)
        self.screen._show()  # in an order that a test has chosen
        await self.pilot.pause()

    async def stand_on(self, run_id: str) -> None:
        self.screen.table.move_cursor(row=self.ids.index(run_id))
        await self.pilot.pause()


@contextlib.asynccontextmanager
async def seated(results: Path, size: tuple[int, int] = (120, 40), **given: Any) -> AsyncIterator[Seat]:
    app = RunsApp(results, **given)
    async with app.run_test(size=size) as pilot:
        seat = Seat(app, pilot)
        await pilot.pause()
        await seat.refresh()
        yield seat


def play(
    results: Path, scenario: Callable[[Seat], Awaitable[None]], size: tuple[int, int] = (120, 40), **given: Any
) -> None:
    async def run() -> None:
        async with seated(results, size, **given) as seat:
            await scenario(seat)

    asyncio.run(run())


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Four runs, each made before the one above it."""
    results = tmp_path / "results"
    add_run(results, "finished", "amber-fox", age=60, seed=1)
    add_run(results, "killed", "brave-owl", age=4000, model_kind="mini-gpt")
    add_run(results, "spikes-warned", "calm-elm", age=8000, seed=2)
    add_run(results, "crashed", "deep-moss", age=200_000)
    return results


# --- what there is ----------------------------------------------------------------------------------


def test_every_run_is_told_with_its_state_its_figures_and_its_guards(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        assert seat.ids == ["amber-fox", "brave-owl", "calm-elm", "deep-moss"]
        assert seat.cell("amber-fox", "state") == "✔ finished"
        assert seat.cell("brave-owl", "state") == "† killed"
        assert seat.cell("brave-owl", "kind") == "mini-gpt"
        assert seat.cell("amber-fox", "step") == "40/40"
        assert seat.cell("amber-fox", "bpb") == "2.6318"
        assert seat.cell("amber-fox", "age") == "1 min"
        assert seat.cell("deep-moss", "age") == "2.3 d"
        assert seat.cell("calm-elm", "guards") == "▲3"
        assert seat.cell("amber-fox", "guards") == "–"
        assert len(seat.cell("amber-fox", "trend")) == 12
        assert seat.cell("amber-fox", "corpus") == "text.txt"

    play(results, scenario, (200, 60))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ascii", [False, True])
def test_what_matters_most_is_whole_at_every_size(results: Path, size: tuple[int, int], ascii: bool) -> None:
    async def scenario(seat: Seat) -> None:
        seen = seat.seen()
        assert "amber-fox" in seen
        assert ("+" if ascii else GLYPHS["finished"]) in seen and "finished" in seen.lower()
        if size[0] >= 60:
            assert "2.6318" in seen and "40/40" in seen and "brave-owl" in seen
        if size[0] >= 120:
            assert "12.2k" in seen and "nanochat-tui sample amber-fox" in seen and "--steps 40" in seen
        assert max(map(len, seen.splitlines())) <= size[0]
        widths = [column.get_render_width(seat.screen.table) for column in seat.screen.table.ordered_columns]
        assert sum(widths) <= seat.screen.table.size.width

    play(results, scenario, size, ascii=ascii)


def test_in_ascii_there_is_nothing_else_in_table_and_detail(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("space", "down", "space", "v")
        await seat.until(lambda: "brave-owl" in seat.screen.query_one("#detail").border_title)
        *lines, _footer = seat.seen().splitlines()  # the footer is Textual's
        assert [line for line in lines if not line.isascii()] == []

    play(results, scenario, ascii=True)


def test_an_empty_results_directory_tells_how_to_start(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        assert "there are no runs in" in seat.seen() and "nanochat-tui --no-ui train" in seat.seen()
        for key in ("enter", "space", "d", "v", "S", "p", "r", "R", "D", "t", "g", "i", "escape"):
            said = len(seat.app.said)
            await seat.press(key)
            assert len(seat.app.said) == said + 1, key

    play(tmp_path, scenario)


def test_a_run_that_appears_moves_neither_cursor_nor_marks(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("down", "space", "down")
        add_run(results, "stopped", "early-bird", age=1)
        await seat.refresh()
        assert seat.ids[0] == "early-bird" and seat.at_cursor == "calm-elm"
        assert [seat.cell(run_id, "mark").strip() for run_id in seat.ids] == ["", "", "1", "", ""]

    play(results, scenario)


def test_a_refresh_touches_only_cells_that_have_changed(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        touched: list[tuple[str, str]] = []
        table = seat.screen.table
        update = table.update_cell

        def note(row: Any, column: Any, value: Any, **more: Any) -> None:
            touched.append((Path(row).name, column))
            update(row, column, value, **more)

        table.update_cell = note  # type: ignore[method-assign]
        await seat.refresh()
        assert touched == []
        with open(results / "runs" / "amber-fox" / "events.jsonl", "a") as file:
            guard = {"v": 1, "t": 1, "kind": "guard", "rule": "spike", "step": 40, "action": "warn", "value": 9.0}
            file.write(json.dumps(guard | {"threshold": 8.0, "hint": "lower the rate"}) + "\n")
        await seat.refresh()
        assert touched == [("amber-fox", "guards")] and seat.cell("amber-fox", "guards") == "▲1"

    play(results, scenario)


def test_many_runs_keep_their_scroll(tmp_path: Path) -> None:
    for number in range(60):
        add_run(tmp_path, "finished", f"run-{number:02}", age=100.0 * number)

    async def scenario(seat: Seat) -> None:
        await seat.press("end")
        await seat.pilot.pause()
        scroll = seat.screen.table.scroll_offset.y
        assert scroll > 20 and seat.at_cursor == "run-59"
        add_run(tmp_path, "finished", "new-one", age=1)
        await seat.refresh()
        await seat.pilot.pause()
        assert seat.at_cursor == "run-59"
        assert abs(seat.screen.table.scroll_offset.y - scroll) <= 1

    play(tmp_path, scenario)


# --- damage -----------------------------------------------------------------------------------------


def test_a_run_that_cannot_be_read_is_told_with_the_reason(results: Path) -> None:
    (results / "runs" / "brave-owl" / "config.json").write_text("{not json")
    (results / "runs" / "calm-elm" / "config.json").unlink()
    with open(results / "runs" / "deep-moss" / "events.jsonl", "a") as file:
        file.write('{"v": 99, "t": 1, "kind": "later"}\n')
    (results / "runs" / "amber-fox" / "events.jsonl").write_bytes(b"\x00\xff garbage\n" * 5)

    async def scenario(seat: Seat) -> None:
        reasons = {
            "brave-owl": "damaged",
            "calm-elm": "config.json not found",
            "deep-moss": "newer version",
            "amber-fox": "5 lines of events.jsonl could not be read",
        }
        assert sorted(seat.ids) == sorted(reasons)
        for run_id, reason in reasons.items():
            await seat.stand_on(run_id)
            await seat.until(lambda reason=reason: reason in " ".join(seat.seen().split()))
            assert seat.cell(run_id, "state").endswith("!")
        await seat.stand_on("brave-owl")
        await seat.press("R", "r")
        assert "brave-owl cannot be restarted" in seat.app.said[0] and "brave-owl cannot be resumed" in seat.app.said[1]

    play(results, scenario)


def test_a_line_about_a_run_that_is_cut_off_says_so(results: Path) -> None:
    (results / "runs" / "amber-fox" / "config.json").unlink()

    async def scenario(seat: Seat) -> None:
        await seat.stand_on("amber-fox")
        await seat.sees("config.json not found")
        assert seat.seen().splitlines()[-2].endswith("…")

    play(results, scenario, (60, 24))


@pytest.mark.parametrize("part", ["resolved", "facts", "given", "parent"])
def test_a_manifest_with_something_else_in_a_place_is_told(results: Path, part: str) -> None:
    run = Run(results / "runs" / "amber-fox")
    run.config_path.write_text(json.dumps(json.loads(run.config_path.read_text()) | {part: 3}))

    async def scenario(seat: Seat) -> None:
        await seat.stand_on("amber-fox")
        await seat.until(lambda: "is damaged or was edited" in " ".join(seat.seen().split()))
        assert seat.cell("amber-fox", "state").endswith("!")
        await seat.press("space", "down", "d")
        assert "amber-fox" in seat.seen()

    play(results, scenario)


def test_a_log_that_became_shorter_is_read_anew(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        log = results / "runs" / "amber-fox" / "events.jsonl"
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:8]))
        await seat.refresh()
        assert seat.cell("amber-fox", "step").strip() == "5/40"
        await seat.until(lambda: "became shorter" in seat.seen())

    play(results, scenario)


def test_a_marked_run_whose_directory_goes_away_is_told(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("down", "space", "v")
        shutil.rmtree(results / "runs" / "brave-owl")
        await seat.refresh()
        assert seat.ids == ["amber-fox", "calm-elm", "deep-moss"] and seat.at_cursor == "calm-elm"
        assert seat.app.said == ["brave-owl is gone: its directory was deleted."]
        assert not seat.screen.overlay.display

    play(results, scenario)


# --- finding ----------------------------------------------------------------------------------------


def test_every_word_of_the_filter_must_fit(results: Path) -> None:
    fitting = {
        "owl": ["brave-owl"],
        "KILLED": ["brave-owl"],
        "bigram crash": ["deep-moss"],
        "text.txt scalar": ["amber-fox", "brave-owl", "calm-elm", "deep-moss"],
        "mini-gpt finished": [],
    }

    async def scenario(seat: Seat) -> None:
        await seat.press("slash")
        for typed, found in fitting.items():
            seat.screen.query_one("#filter", Input).value = typed
            await seat.pilot.pause()
            assert seat.ids == found, typed
            assert (f"runs {len(found)} of 4" in seat.seen()) == (len(found) < 4), typed
            assert ("no run fits" in seat.seen()) == (not found), typed

    play(results, scenario)


def test_escape_leaves_the_filter_and_then_clears_it(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("slash", "o", "w", "l")
        assert seat.ids == ["brave-owl"]
        await seat.press("escape")
        assert seat.screen.focused is seat.screen.table and seat.ids == ["brave-owl"]
        await seat.press("escape")
        assert len(seat.ids) == 4 and not seat.screen.filter_input.display
        await seat.press("escape")
        assert "nothing to close" in seat.app.said[-1]

    play(results, scenario)


def test_a_key_sorts_by_the_next_column_and_says_which(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        orders = {}
        for _ in range(10):
            await seat.press("o")
            words = str(seat.screen.pane.border_subtitle)
            orders[words.removeprefix("sorted by ")] = seat.ids
        assert orders["run ↑"] == ["amber-fox", "brave-owl", "calm-elm", "deep-moss"]
        assert orders["step ↓"] == ["calm-elm", "brave-owl", "amber-fox", "deep-moss"]
        assert orders["best bpb ↑"][:2] == ["calm-elm", "amber-fox"]
        assert orders["guards ↓"][0] == "calm-elm"
        assert len(orders) == 10
        assert list(orders)[-1] == "age ↑"

    play(results, scenario)


def test_the_order_can_be_turned_round_and_the_cursor_stays_on_its_run(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("down", "O")
        assert seat.ids == ["deep-moss", "calm-elm", "brave-owl", "amber-fox"]
        assert seat.at_cursor == "brave-owl" and "age ↓" in seat.seen()

    play(results, scenario)


def test_a_click_on_a_label_sorts_and_another_one_turns_it_round(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        place = seat.seen().splitlines()[2].index("run")
        assert await seat.pilot.click(RunsTable, offset=(place - 2, 0))
        assert "run ↑" in seat.seen()
        await seat.pilot.click(RunsTable, offset=(place - 2, 0))
        assert "run ↓" in seat.seen() and seat.ids[0] == "deep-moss"

    play(results, scenario)


def test_a_run_that_overtakes_another_moves_and_the_cursor_with_it(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        seat.screen._sort = ("guards", False)
        await seat.refresh()
        assert seat.ids == ["calm-elm", "amber-fox", "brave-owl", "deep-moss"]
        await seat.stand_on("deep-moss")
        guard = {"v": 1, "t": 1, "kind": "guard", "rule": "spike", "step": 9, "action": "warn", "value": 9.0}
        with open(results / "runs" / "deep-moss" / "events.jsonl", "a") as file:
            file.write(4 * (json.dumps(guard | {"threshold": 8.0, "hint": "lower the rate"}) + "\n"))
        await seat.refresh()
        assert seat.ids == ["deep-moss", "calm-elm", "amber-fox", "brave-owl"]
        assert seat.at_cursor == "deep-moss" and seat.cell("deep-moss", "guards") == "▲4"
        await seat.press("i")
        await seat.until(lambda: "deep-moss" in seat.seen())

    play(results, scenario)


def test_runs_without_a_figure_come_last_either_way(results: Path) -> None:
    add_run(results, "failed", "early-bird", age=60.0)

    async def scenario(seat: Seat) -> None:
        seat.screen._sort = ("bpb", False)
        await seat.refresh()
        assert seat.ids[-1] == "early-bird"
        await seat.press("O")
        assert seat.ids[-1] == "early-bird"

    play(results, scenario)


def test_a_column_that_sorts_is_seen_on_a_narrow_terminal(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        seat.screen._sort = ("speed", False)
        await seat.refresh()
        assert "tok/s ↓" in seat.seen()

    play(results, scenario, (60, 15))


# --- comparing --------------------------------------------------------------------------------------


def test_the_difference_tells_results_and_only_the_settings_that_differ(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("space")
        await seat.stand_on("calm-elm")
        await seat.press("space", "d")
        seen = seat.seen()
        assert isinstance(seat.app.screen, DifferenceScreen)
        assert "2.6318 @ 40" in seen and "≠ seed" in seen and "≠ steps" in seen
        assert "batch size" not in seen
        await seat.press("a")
        table = seat.app.screen.query_one(DataTable)
        lines = [str(table.get_row(key)[0]) for key in table.rows]
        assert "  batch size" in lines and "≠ seed" in lines
        seat.app.refresh_runs()  # reaches the screen in front
        await seat.press("escape")
        assert seat.app.screen is seat.screen

    play(results, scenario)


def test_one_mark_is_compared_with_the_cursor_and_none_says_what_to_do(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("d")
        assert "space marks runs" in seat.app.said[0]
        await seat.press("space", "d")
        assert len(seat.app.said) == 2
        await seat.press("down", "d")
        assert isinstance(seat.app.screen, DifferenceScreen)
        assert "amber-fox" in seat.seen() and "brave-owl" in seat.seen()

    play(results, scenario)


@pytest.mark.parametrize("size", SIZES)
def test_the_overlay_draws_the_marked_runs(results: Path, size: tuple[int, int]) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("v")
        assert "space marks runs" in seat.app.said[0]
        await seat.press("space", "down", "down", "space", "v")
        overlay = seat.screen.overlay
        assert overlay.run_ids == ["amber-fox", "calm-elm"]
        if size[0] >= 80:
            await seat.until(lambda: "1 amber-fox" in seat.seen() and "2 calm-elm" in seat.seen())
        assert any("⠀" < character <= "⣿" for character in seat.seen()), seat.seen()
        await seat.press("v")
        assert not overlay.display and "calm-elm" in seat.seen()

    play(results, scenario, size)


def test_the_overlay_follows_marks_and_live_runs(results: Path) -> None:
    run = Run(results / "runs" / "killed-run")
    add_run(results, "killed", "killed-run", age=60.0)

    async def scenario(seat: Seat) -> None:
        await seat.stand_on("killed-run")
        await seat.press("space", "v")
        overlay = seat.screen.overlay
        drawn_steps = overlay.drawn_steps
        watch = seat.app.state.board.watch_of(run)
        step = watch.history.step
        with open(run.events_path, "a") as file:
            steps = {"first_step": step + 1, "losses": [1.0], "lr": [0.1], "seconds": [0.1], "grad_norms": [1.0]}
            file.write(json.dumps({"v": 1, "t": 9, "kind": "steps", "tokens": 9999} | steps) + "\n")
        await seat.refresh()
        await seat.until(lambda: overlay.drawn_steps == drawn_steps + 1)
        await seat.stand_on("amber-fox")
        await seat.press("space")
        assert overlay.run_ids == ["killed-run", "amber-fox"]
        assert seat.app.state.board.watch_of(run) is watch  # not read again
        await seat.press("space")
        await seat.stand_on("killed-run")
        await seat.press("space")
        assert not overlay.display

    with held(run):
        play(results, scenario)


def test_what_changes_while_the_overlay_hides_the_table_is_there_afterwards(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("space", "v")
        assert not seat.screen.pane.display
        add_run(results, "stopped", "early-bird", age=1)
        await seat.refresh()
        shutil.rmtree(results / "runs" / "deep-moss")
        await seat.refresh()
        await seat.press("enter")
        assert seat.app.wanted
        await seat.press("escape")
        assert seat.screen.pane.display and seat.screen.focused is seat.screen.table
        assert seat.ids == ["early-bird", "amber-fox", "brave-owl", "calm-elm"] and "early-bird" in seat.seen()
        assert seat.at_cursor == "amber-fox"

    play(results, scenario, (60, 15))


def test_a_ninth_mark_is_refused(tmp_path: Path) -> None:
    for number in range(9):
        add_run(tmp_path, "finished", f"run-{number}", age=100.0 * number)

    async def scenario(seat: Seat) -> None:
        for _ in range(9):
            await seat.press("space", "down")
        assert "8 runs are marked" in seat.app.said[0]
        assert [seat.cell(f"run-{i}", "mark").strip() for i in range(9)] == [*map(str, range(1, 9)), ""]

    play(tmp_path, scenario)


# --- leaving for other screens ----------------------------------------------------------------------


def test_keys_ask_for_other_screens(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("enter", "t", "R")
        await seat.pilot.pause()
        chosen, sample, form = seat.app.wanted
        assert isinstance(chosen, RunSelected) and chosen.run.id == "amber-fox"
        assert isinstance(sample, SampleRequested) and sample.run.id == "amber-fox"
        assert isinstance(form, FormRequested) and form.given["steps"] == 40 and form.given["data"] == "/lab/text.txt"
        await seat.stand_on("deep-moss")
        await seat.press("t")
        assert "deep-moss has no checkpoint" in seat.app.said[-1]

    play(results, scenario)


def test_pages_tell_of_guards_and_of_everything(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.stand_on("calm-elm")
        await seat.press("g")
        assert isinstance(seat.app.screen, Page)
        await seat.until(lambda: "spike" in seat.seen() and "threshold" in seat.seen())
        await seat.press("escape", "i")
        await seat.until(lambda: "nanochat-tui sample calm-elm" in seat.seen())
        await seat.press("escape")
        assert seat.app.screen is seat.screen

    play(results, scenario, (80, 24))


def test_nothing_that_a_run_s_files_hold_commands_the_terminal(results: Path) -> None:
    run = add_run(results, "finished", "early-bird", age=1.0, data="\x1b[31mred.txt")
    sample = {"t": 99.0, "kind": "sample", "step": 40, "prompt": "\x1b[2J", "text": "a\x00b\x07c", "seconds": 0.1}
    append(run, sample)

    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: "\u241b[2Ja\u2400b\u2407c" in seat.seen() and "\u241b[31mred.txt" in seat.seen())
        await seat.press("space", "down", "d")
        await seat.until(lambda: isinstance(seat.app.screen, DifferenceScreen) and "red.txt" in seat.seen())
        assert not {"\x1b", "\x00", "\x07"} & set(seat.seen())

    play(results, scenario, (200, 60))


# --- commanding -------------------------------------------------------------------------------------


def test_deleting_asks_first_and_then_deletes(results: Path) -> None:
    doomed = results / "runs" / "amber-fox"

    async def scenario(seat: Seat) -> None:
        await seat.press("D")
        assert isinstance(seat.app.screen, ConfirmScreen)
        assert "Delete amber-fox permanently?" in seat.seen() and "delete (y)" in seat.seen()
        await seat.press("n")
        assert doomed.exists() and seat.app.screen is seat.screen
        await seat.press("delete", "enter")  # the cautious answer has the focus
        assert doomed.exists()
        await seat.press("D", "y")
        await seat.hears("deleted run amber-fox")
        assert not doomed.exists()
        await seat.refresh()
        assert "amber-fox" not in seat.ids and len(seat.app.said) == 1

    play(results, scenario)


def test_the_report_of_a_run_is_written_and_its_place_told(results: Path) -> None:
    (results / "runs" / "calm-elm" / "config.json").write_text("{")

    async def scenario(seat: Seat) -> None:
        await seat.stand_on("brave-owl")
        await seat.press("w")
        page = results / "reports" / "brave-owl.html"
        await seat.hears(f"report written: {page}, with its plots")
        assert seat.app.said[0] == "writing the report of brave-owl ..." and "Run brave-owl" in page.read_text()
        await seat.stand_on("calm-elm")
        await seat.press("w")
        await seat.hears("calm-elm cannot be reported: ")

    play(results, scenario)


def test_a_live_run_is_not_deleted_and_its_orders_reach_it(results: Path) -> None:
    run = Run(results / "runs" / "amber-fox")

    async def scenario(seat: Seat) -> None:
        assert seat.cell("amber-fox", "state").endswith(("starting", "running"))
        await seat.press("D")
        assert seat.app.screen is seat.screen and "Press S to stop it first" in seat.app.said[-1]
        await seat.press("r")
        assert "is already running" in seat.app.said[-1]
        await seat.press("p")
        await seat.hears("pause requested: amber-fox")
        await seat.press("S")
        assert "stop (y)" in seat.seen()
        await seat.press("y")
        await seat.hears("stop requested: amber-fox")
        verbs = {json.loads(path.read_text())["verb"] for path in run.control_dir.glob("*.json")}
        assert verbs == {"pause", "stop"}

    with held(run):
        play(results, scenario)


def test_a_run_that_came_back_to_life_behind_the_question_is_not_deleted(results: Path) -> None:
    run = Run(results / "runs" / "amber-fox")

    async def scenario(seat: Seat) -> None:
        await seat.press("D")
        with held(run):
            await seat.press("y")
            await seat.hears("is already running. Attach to it, or stop it first")
        assert run.path.exists()

    play(results, scenario)


def test_a_run_of_another_results_directory_is_marked_and_not_deleted(results: Path, tmp_path: Path) -> None:
    add_used_results_dir(results)

    async def scenario(seat: Seat) -> None:
        assert seat.cell("amber-fox", "elsewhere") == str(results)
        await seat.stand_on("amber-fox")
        await seat.press("D")
        assert seat.app.screen is seat.screen, "a dialog is shown as if the run would be deleted"
        assert seat.app.said == [
            f"amber-fox is in {results}; delete it with: nanochat-tui runs --results-dir {results}"
        ]

    play(tmp_path / "empty", scenario, (200, 40))


def test_no_column_is_spent_on_the_results_directory_of_own_runs(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        assert "elsewhere" not in seat.screen.table.shown_columns

    play(results, scenario, (200, 40))


def test_a_dead_run_says_why_it_cannot_be_paused_or_stopped(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("p", "S", "r")
        assert seat.app.said == [
            "amber-fox is not running. Press R to start another run with its settings.",
            "amber-fox is not running. Press R to start another run with its settings.",
            "amber-fox is finished. Press R to start another run with its settings.",
        ]
        await seat.stand_on("brave-owl")
        await seat.press("p")
        assert seat.app.said[-1] == "brave-owl is not running. Press r to resume it."

    play(results, scenario)


def test_a_real_run_is_paused_goes_on_stops_and_is_resumed(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=200_000, eval_every=50_000)
    worker = launch(run)

    async def scenario(seat: Seat) -> None:
        async def reaches(state: str) -> None:
            while not seat.cell(run.id, "state").endswith(state):
                await seat.refresh()

        await reaches("running")
        await seat.press("p")
        await reaches("paused")
        await seat.press("r")
        await reaches("running")
        await seat.press("S", "y")
        await reaches("stopped")
        assert worker.wait(PATIENCE) is not None
        await seat.press("r")
        await seat.hears("resumes from its last checkpoint")
        await reaches("running")
        await seat.press("S", "y")
        await reaches("stopped")

    play(tmp_path / "results", scenario)


def test_readonly_refuses_every_order_and_says_so(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        for number, key in enumerate(("S", "p", "r", "R", "w", "D", "delete"), start=1):
            await seat.press(key)
            assert len(seat.app.said) == number and "--readonly" in seat.app.said[-1]
        assert seat.app.screen is seat.screen and not seat.app.wanted
        await seat.press("enter")
        assert isinstance(seat.app.wanted[0], RunSelected)

    play(results, scenario, readonly=True)


# --- sizes, themes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (5, 2), (20, 5), (200, 60)])
def test_a_terminal_that_changes_its_size_is_survived(results: Path, size: tuple[int, int]) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("down", "space", "v")
        await seat.pilot.resize_terminal(*size)
        await seat.refresh()
        await seat.press("D", "n", "d")
        await seat.pilot.resize_terminal(120, 40)
        await seat.press("v")
        assert seat.at_cursor == "brave-owl" and "amber-fox" in seat.seen()

    play(results, scenario)


def test_another_theme_colours_the_cells_anew(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("space")
        table = seat.screen.table
        before = table.get_cell(next(iter(table.rows)), "mark").style
        seat.app.theme = THEMES[1].name
        await seat.pilot.pause()
        assert table.get_cell(next(iter(table.rows)), "mark").style != before

    play(results, scenario)


def test_a_finished_run_of_today_is_listed_as_the_command_line_lists_it(tmp_path: Path) -> None:
    run = finished_run(tmp_path)

    async def scenario(seat: Seat) -> None:
        assert seat.ids == [run.id] and seat.cell(run.id, "state") == "✔ finished"
        assert seat.cell(run.id, "step") == "20/20"

    play(tmp_path / "results", scenario)


def test_restart_opens_the_form_with_the_settings_of_the_run(results: Path) -> None:
    async def run() -> None:
        app = DashboardApp(results, screen="runs")
        async with app.run_test(size=(120, 40)) as pilot:
            while not (isinstance(app.screen, RunsScreen) and app.screen.table.row_at_cursor):
                await pilot.pause(0.05)
            await pilot.press("R")
            while not (isinstance(app.screen, TrainScreen) and app.screen.query(SettingsForm)):
                await pilot.pause(0.05)
            while app.screen.query_one(SettingsForm).given.get("steps") != "40":
                await pilot.pause(0.05)

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
