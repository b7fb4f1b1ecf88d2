"""The sample screen, with a real run and a real sampling process: what is drawn appears, every key says what it did."""

import asyncio
import contextlib
import json
import math
import os
import shlex
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import seats
from builders import finished_run, make_run
from textual.app import App
from textual.events import Paste
from textual.widgets import Input, OptionList, Static

from engines.runs.launch import launch
from engines.runs.lookup import runs_in_view
from nanochat_tui.cli import main
from screens.messages import RunsRefreshed
from screens.sample.alternatives import Alternatives, rows_of
from screens.sample.checkpoint_picker import Picker
from screens.sample.generation import SpeechPane
from screens.sample.screen import SampleScreen
from screens.state import Lab
from screens.widgets.keys import Keys
from screens.widgets.token_view import TokenView


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs; the newer one is a mini-gpt."""
    folder = tmp_path_factory.mktemp("lab")
    finished_run(folder, seed=1)
    finished_run(folder, seed=2, model_kind="mini-gpt", width=4, heads=1)
    return folder / "results"


class SampleApp(App[None]):
    """The app as far as this screen needs it."""

    CSS_PATH = str(Path(__file__).parents[3] / "screens" / "app.tcss")
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (60, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (18, "-low"), (30, "-high")]

    def __init__(self, results: Path, **given: Any) -> None:
        super().__init__()
        self.lab = Lab(results, **given)
        self.said: list[str] = []
        self.copied = ""

    def on_mount(self) -> None:
        self.push_screen(SampleScreen())
        self.refresh_runs()

    def refresh_runs(self) -> None:
        self.lab.watches = self.lab.board.refresh()
        self.screen.post_message(RunsRefreshed())

    def notify(self, message: str, **_: Any) -> None:  # type: ignore[override]
        self.said.append(message)

    def copy_to_clipboard(self, text: str) -> None:
        self.copied = text


class Seat(seats.Seat):
    """Knows the panes."""

    app: SampleApp

    @property
    def screen(self) -> SampleScreen:
        return next(screen for screen in self.app.screen_stack if isinstance(screen, SampleScreen))

    def pane(self, id: str = "first") -> SpeechPane:
        return self.screen.query_one(f"#{id}", SpeechPane)

    def status(self, id: str = "first") -> str:
        return str(self.pane(id).query_one(".status", Static).content)

    def text(self, id: str = "first") -> str:
        speech = self.pane(id).speech
        return speech.text if speech else ""

    async def write(self, text: str) -> None:
        """Into the prompt."""
        self.screen.query_one("#prompt", Input).value = text

    async def set(self, name: str, value: object) -> None:
        self.screen.query_one(f"#setting-{name} Input", Input).value = str(value)
        await self.pilot.pause()

    async def ended(self, id: str = "first") -> None:
        await self.until(lambda: self.pane(id).request is None and self.pane(id).asked)
        await self.pilot.pause()


@contextlib.asynccontextmanager
async def seated(results: Path, size: tuple[int, int] = (120, 40), **given: Any) -> AsyncIterator[Seat]:
    app = SampleApp(results, **given)
    async with app.run_test(size=size) as pilot:
        seat = Seat(app, pilot)
        await seat.until(lambda: "Looking" not in seat.pane().why_silent)
        yield seat


def play(
    results: Path, scenario: Callable[[Seat], Awaitable[None]], size: tuple[int, int] = (120, 40), **given: Any
) -> None:
    async def run() -> None:
        async with seated(results, size, **given) as seat:
            await scenario(seat)

    asyncio.run(run())


def process_id(seat: Seat) -> int:
    process = seat.screen._conversation._client._process
    assert process
    return process.pid


def note_updates(seat: Seat) -> list[str]:
    """Every status that the first pane tells from now on."""
    told: list[str] = []
    status = seat.pane().query_one(".status", Static)
    update = status.update

    def note(content: Any) -> None:
        told.append(str(content))
        update(content)

    status.update = note  # type: ignore[method-assign,assignment]
    return told


# --- speaking ---------------------------------------------------------------------------------------


def test_what_is_drawn_is_what_the_command_line_draws(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn: list[tuple[str, list[float]]] = []
    words = ["--prompt", "the ", "--max-new-tokens", "30", "--temperature", "0.9", "--seed", "7"]

    async def scenario(seat: Seat) -> None:
        await seat.write("the ")
        for name, value in (("max_new_tokens", 30), ("temperature", 0.9), ("seed", 7)):
            await seat.set(name, value)
        await seat.press("e", "enter")
        await seat.ended()
        drawn.append((seat.text(), [token.probability for token in seat.pane().tokens]))
        assert "done" in seat.status() and "tok/s" in seat.status() and "bits/token" in seat.status()
        assert seat.text().splitlines()[0].rstrip() in seat.seen()

    play(results, scenario)
    assert main(["--no-ui", "--json", "sample", "last", "--results-dir", str(results), *words]) == 0
    *tokens, done = map(json.loads, capsys.readouterr().out.splitlines())
    assert drawn == [(done["text"], [token["probability"] for token in tokens])]


def test_it_tells_what_it_does_until_the_first_token_and_then_streams(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        told = note_updates(seat)
        await speak_for_ever(seat)
        assert told[0].startswith("starting the sampling process… 0.0 s")
        await seat.until(lambda: len({words for words in told if words.startswith("●") and "tok/s" in words}) > 2)

    play(results, scenario)


def test_a_checkpoint_that_takes_long_to_load_is_told(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await speak_for_ever(seat)
        process = process_id(seat)
        os.kill(process, signal.SIGSTOP)
        await seat.press("enter")
        assert seat.status().startswith("waiting for the sampling process… ")
        seat.pane().hear([{"kind": "loading"}])
        assert seat.status().startswith("loading ") and "step 20…" in seat.status()
        before = seat.status()
        await seat.until(lambda: seat.status() != before)  # its clock goes on
        os.kill(process, signal.SIGCONT)
        await seat.until(lambda: seat.pane().tokens)

    play(results, scenario)


async def speak_for_ever(seat: Seat) -> None:
    """The likeliest token each time: the text goes round in a circle."""
    await seat.write("the ")
    await seat.set("top_k", 1)
    await seat.set("max_new_tokens", 10**7)
    await seat.press("enter")
    await seat.until(lambda: len(seat.pane().tokens) > 50)
    assert seat.pane().request is not None


def test_a_key_stops_it_and_the_text_stays(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await speak_for_ever(seat)
        await seat.press("x")
        await seat.ended()
        assert "stopped" in seat.status() and len(seat.text()) > 50
        await speak_for_ever(seat)
        await seat.press("escape")
        await seat.ended()
        assert "stopped" in seat.status()

    play(results, scenario)


def test_enter_again_draws_the_same_and_the_next_seed_another_text(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("enter")
        await seat.ended()
        first, process = seat.text(), process_id(seat)
        await seat.press("enter")
        await seat.ended()
        assert seat.text() == first and process_id(seat) == process  # it is kept warm
        await seat.press("n")
        await seat.ended()
        assert seat.text() != first
        assert seat.screen.settings.values["seed"] == 1338

    play(results, scenario)


def test_enter_while_it_speaks_begins_anew(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await speak_for_ever(seat)
        await seat.set("max_new_tokens", 3)
        await seat.press("enter")
        await seat.ended()
        assert len(seat.pane().tokens) == 3
        await seat.pilot.pause(0.1)
        assert len(seat.pane().tokens) == 3

    play(results, scenario)


def test_readonly_may_listen_but_not_save(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("enter")
        await seat.ended()
        await seat.press("w", "y")
        assert seat.text() and "read-only mode" in seat.app.said[0] and seat.app.copied == seat.text()

    play(results, scenario, readonly=True)


# --- the process ------------------------------------------------------------------------------------


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_process_ends_with_the_app(results: Path) -> None:
    pids: list[int] = []

    async def scenario(seat: Seat) -> None:
        await speak_for_ever(seat)
        pids.append(process_id(seat))

    play(results, scenario)
    assert not is_there(pids[0])


def test_a_process_that_dies_is_told_and_the_next_request_starts_another(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await speak_for_ever(seat)
        pid = process_id(seat)
        os.kill(pid, signal.SIGKILL)
        await seat.ended()
        assert "was killed (SIGKILL); ask again" in seat.status() and len(seat.text()) > 50
        await seat.set("max_new_tokens", 3)
        await seat.press("enter")
        await seat.ended()
        assert len(seat.pane().tokens) == 3 and process_id(seat) != pid

    play(results, scenario)


def test_what_the_sampler_cannot_do_is_told_in_its_words(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.write("q€")
        await seat.press("enter")
        await seat.ended()
        assert "€" in seat.status() and seat.status().endswith(".") and seat.pane().has_class("-failed")

    play(results, scenario)


def test_a_checkpoint_that_was_removed_meanwhile_is_an_error_with_a_way_out(results: Path, tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        chosen = seat.pane().chosen
        assert chosen
        shutil.rmtree(chosen.path)
        await seat.press("enter")
        await seat.ended()
        assert "use another checkpoint" in seat.status()

    run_path = next((results / "runs").iterdir())
    own = tmp_path / "own" / "runs" / run_path.name
    shutil.copytree(run_path, own)
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({**config, "checkpoints": str(own / "checkpoints")}))
    play(tmp_path / "own", scenario)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_paste_of_several_lines_keeps_every_line_of_the_prompt(ends: str, results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("e", "x", "y", "left")
        seat.screen.query_one("#prompt", Input).post_message(Paste(ends.join(("one", "", "two", ""))))
        await seat.until(lambda: "two" in seat.screen.prompt.value)
        assert seat.screen.prompt.value == "xone\n\ntwo\ny"
        shown = "".join(segment.text for segment in seat.screen.prompt.render_line(0))
        assert "xone↵↵two↵y" in shown

    play(results, scenario)


# --- settings ---------------------------------------------------------------------------------------


def test_a_wrong_value_is_told_as_it_is_typed_and_nothing_is_drawn(results: Path) -> None:
    wrong = {
        ("temperature", "-1"): "temperature must be at least 0, not -1.0.",
        ("top_k", "x"): "top k must be a whole number, not 'x'.",
        ("top_p", "1.5"): "top p must be at most 1, not 1.5.",
        ("seed", "-1"): "seed must be at least 0, not -1.",
        ("max_new_tokens", "-1"): "max new tokens must be at least 0, not -1.",
    }

    async def scenario(seat: Seat) -> None:
        told = seat.screen.query_one("#problem", Static)
        for (name, value), problem in wrong.items():
            await seat.set(name, value)
            assert told.display and str(told.content) == problem
            await seat.press("escape", "enter")
            assert problem in seat.app.said and seat.pane().asked is None
            assert seat.screen.focused is seat.screen.query_one(f"#setting-{name} Input")
            await seat.set(name, "")  # the default
            assert not told.display, name
        await seat.press("enter")
        await seat.ended()

    play(results, scenario)


def test_a_focused_input_takes_printable_keys_and_escape_leaves_it(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("e", *"hbnyw")
        assert seat.screen.prompt.value == "hbnyw" and not seat.app.said
        assert "Leave" in seat.seen()
        await seat.press("escape", "h")
        assert isinstance(seat.screen.focused, TokenView) and seat.pane().view.heat

    play(results, scenario)


def test_no_tokens_are_no_failure(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.set("max_new_tokens", 0)
        await seat.press("enter")
        await seat.ended()
        assert "no tokens were asked for" in seat.status()

    play(results, scenario)


# --- looking ----------------------------------------------------------------------------------------


def test_the_cursor_shows_the_alternatives_and_their_shares_add_up_to_one(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("enter")
        await seat.ended()
        for token in seat.pane().tokens:
            rows = rows_of(token)
            assert math.isclose(sum(row.share for row in rows), 1.0) and [row.drawn for row in rows].count(True) == 1
            assert next(row for row in rows if row.drawn).share == token.probability
        await seat.press("right", "right")
        alternatives = seat.screen.query_one(Alternatives)
        assert "token 2" in str(alternatives.border_title)
        shown = str(alternatives.content)
        likeliest, share = seat.pane().tokens[1].alternatives[0]
        assert f"{likeliest!r}" in shown and f"{share:.1%}" in shown and "all others" in shown and "▸" in shown
        await seat.press("escape")
        assert "walk over the tokens" in str(alternatives.content)

    play(results, scenario)


def test_a_key_shades_the_text_and_explains_the_scale(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("enter")
        await seat.ended()
        assert "surprise in bits" not in seat.seen()
        await seat.press("h")
        assert "surprise in bits:  <1   1–2   2–4   4–8   >8" in seat.seen()
        await seat.press("h")
        assert "surprise in bits" not in seat.seen()

    play(results, scenario)


@pytest.mark.parametrize(("ascii", "no_color"), [(True, False), (False, True), (False, False)])
def test_without_colours_shades_are_attributes(
    results: Path, ascii: bool, no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")

    async def scenario(seat: Seat) -> None:
        assert seat.pane().view.monochrome == (ascii or no_color)

    play(results, scenario, ascii=ascii)


def test_with_ascii_no_other_character_is_on_the_screen(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        seat.screen.add_class("-ascii")
        seat.app.add_class("-ascii")
        await seat.press("enter")
        await seat.ended()
        await seat.press("h", "b")
        await seat.ended("second")
        await seat.press("right")
        await seat.pilot.pause()
        body = seat.seen().splitlines()[:-1]  # the footer is the app's
        assert not {character for line in body for character in line if ord(character) > 126}

    play(results, scenario, ascii=True)


# --- two side by side -------------------------------------------------------------------------------


def test_two_checkpoints_go_on_from_the_same_prompt_with_the_same_seed(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.write("the ")
        await seat.press("enter")
        await seat.ended()
        await seat.press("b")
        await seat.ended("second")
        first, second = seat.pane(), seat.pane("second")
        assert first.asked == second.asked and second.chosen != first.chosen
        await seat.set("seed", 5)
        await seat.press("enter")
        await seat.ended()
        await seat.ended("second")
        assert second.asked and second.asked.settings["seed"] == 5 and first.asked == second.asked
        await seat.press("x")
        assert "Nothing is being drawn" in seat.app.said[-1]
        await seat.press("b")
        assert not second.display and first.display

    play(results, scenario)


def test_each_pane_has_its_own_checkpoint(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("enter")
        await seat.ended()
        before = seat.text()
        await seat.press("b")
        await seat.ended("second")
        await seat.press("c", *"bigram", "enter")
        await seat.until(lambda: not isinstance(seat.app.screen, Picker))
        await seat.ended("second")
        speech = seat.pane("second").speech
        assert speech and speech.checkpoint.model_kind == "bigram" and seat.text() == before
        assert "bigram" in str(seat.pane("second").border_title)

    play(results, scenario)


# --- keeping ----------------------------------------------------------------------------------------


def test_a_text_is_copied_and_that_is_said(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("y", "w")
        assert ["no text to copy" in seat.app.said[0], "no text to save" in seat.app.said[1]] == [True, True]
        await seat.press("enter")
        await seat.ended()
        await seat.press("y")
        assert seat.app.copied == seat.text() and f"Copied {len(seat.text())} characters" in seat.app.said[-1]

    play(results, scenario)


def test_a_text_is_saved_in_its_run_with_the_command_that_draws_it_again(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved: list[Path] = []

    async def scenario(seat: Seat) -> None:
        await seat.write("the dog ")
        await seat.press("enter")
        await seat.ended()
        await seat.press("w")
        await seat.until(lambda: "Saved as " in seat.app.said[-1])
        await seat.press("w")
        await seat.until(lambda: len(seat.app.said) == 2)
        saved.extend(Path(words.removeprefix("Saved as ")) for words in seat.app.said)

    play(results, scenario)
    assert len(set(saved)) == 2 and all(path.parent.name == "samples" for path in saved)
    command, text = saved[0].read_text().split("\n", 1)
    words = shlex.split(command.removeprefix("# "))
    assert main([*words[1:], "--results-dir", str(results)]) == 0
    assert capsys.readouterr().out == text


def test_a_folder_that_cannot_be_written_is_told(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("screens.sample.screen.save", refuse)

    async def scenario(seat: Seat) -> None:
        await seat.press("enter")
        await seat.ended()
        await seat.press("w")
        await seat.until(lambda: seat.app.said)
        assert "cannot be written (Permission denied)" in seat.app.said[0]

    play(results, scenario)


# --- which checkpoint -------------------------------------------------------------------------------


def test_an_empty_lab_says_how_to_begin(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        assert "There are no runs yet" in seat.status() and "F5" in seat.status()
        for key in ("enter", "c", "b", "x", "y", "w", "escape", "right"):
            await seat.press(key)
        assert len(seat.app.said) == 8

    play(tmp_path, scenario)


def test_a_run_without_checkpoint_says_so_until_it_has_one(tmp_path: Path) -> None:
    run = make_run(tmp_path)

    async def scenario(seat: Seat) -> None:
        assert "has no checkpoint" in seat.status()
        await seat.press("enter")
        assert "has no checkpoint" in seat.app.said[0]
        launch(run).wait()
        seat.app.refresh_runs()
        await seat.until(lambda: seat.pane().chosen)
        await seat.press("enter")
        await seat.ended()
        assert seat.text()

    play(tmp_path / "results", scenario)


def test_a_run_whose_checkpoints_were_deleted_says_so(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    shutil.rmtree(run.checkpoints_dir)

    async def scenario(seat: Seat) -> None:
        assert "has no checkpoint any more: those it wrote are gone" in seat.status()

    play(tmp_path / "results", scenario)


def test_the_newest_checkpoint_of_a_run_is_taken_whichever_it_is_by_then(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    newest = run.checkpoints_dir / "step-00000020"
    newest.rename(newest.with_name("kept"))

    async def scenario(seat: Seat) -> None:
        await seat.press("enter")
        await seat.ended()
        assert "step 15" in str(seat.pane().border_title)
        await seat.press("c")
        seat.app.lab.watches[0].state = "running"  # as far as the shelf looks again
        newest.with_name("kept").rename(newest)
        seat.app.screen.post_message(RunsRefreshed())
        options = seat.app.screen.query_one(OptionList)
        await seat.until(lambda: "step 20" in str(options.get_option_at_index(0).prompt))
        await seat.press("escape")
        assert "step 20 is there now" in str(seat.pane().border_subtitle) and "step 15" in str(seat.pane().border_title)
        await seat.press("enter")
        await seat.ended()
        assert "step 20" in str(seat.pane().border_title)

    play(tmp_path / "results", scenario)


def test_the_list_of_checkpoints_is_filtered_by_words(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("c")
        picker = seat.app.screen
        options = picker.query_one(OptionList)
        everything = options.option_count
        await seat.press(*"bigram")
        assert 0 < options.option_count < everything
        await seat.press("down", "down", "down", "up", "enter")
        await seat.until(lambda: seat.app.screen is seat.screen)
        await seat.pilot.pause()
        chosen = seat.pane().chosen
        assert chosen and (chosen.step, chosen.model_kind) == (15, "bigram")
        await seat.press("c", *"nothing fits", "enter")
        assert "no line fits" in seat.app.said[-1]

    play(results, scenario)


def test_the_run_that_is_looked_at_elsewhere_is_the_first_to_speak(results: Path) -> None:
    oldest = runs_in_view(results)[0]

    async def scenario(seat: Seat) -> None:
        assert seat.pane().chosen and seat.pane().chosen.run_id == oldest.id  # type: ignore[union-attr]

    play(results, scenario, selected=oldest)


def test_a_run_that_lies_elsewhere_can_speak_too(results: Path, tmp_path: Path) -> None:
    finished_run(tmp_path)
    elsewhere = runs_in_view(results)[0]

    async def scenario(seat: Seat) -> None:
        await seat.press("enter")
        await seat.ended()
        assert seat.pane().speech.checkpoint.run_id == elsewhere.id  # type: ignore[union-attr]

    play(tmp_path / "results", scenario, selected=elsewhere)


# --- small terminals --------------------------------------------------------------------------------


def test_at_80_by_24_everything_that_matters_is_there(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.write("the ")
        await seat.press("enter")
        await seat.ended()
        seen = seat.seen()
        for words in ("temp 0.8", "top k 0", "top p 1.0", "tokens 200", "seed 1337", "the ", "mini-gpt", "tok/s"):
            assert words in seen
        for label in ("Go", "Stop", "Edit", "Model", "Beside", "Heat", "Next", "Copy", "Save"):
            assert label in seen.splitlines()[-1]
        assert "alternatives" not in seen
        await seat.press("right")
        await seat.pilot.pause()
        assert "alternatives" in seat.seen() and "all others" in seat.seen()

    play(results, scenario, size=(80, 24))


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (40, 10), (59, 17), (110, 16), (99, 30)])
def test_no_size_is_too_small(results: Path, size: tuple[int, int]) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("enter")
        await seat.ended()
        await seat.press("b")
        await seat.ended("second")
        await seat.press("h", "right", "c")
        await seat.pilot.pause()

    play(results, scenario, size=size)


def test_every_key_is_explained(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        for key, (_, binding, _, tooltip) in seat.screen.active_bindings.items():
            if (binding.id or "").startswith(("sample.", "tokens.")):
                assert tooltip and binding.description, key
        assert seat.screen.query_one(Keys)

    play(results, scenario)
