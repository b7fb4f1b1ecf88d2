"""The sample screen: a prompt, how to draw, and one checkpoint that goes on from it, or two side by side."""

import functools
from collections.abc import Sequence
from typing import ClassVar, Protocol, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Input

from engines.errors import UserError
from engines.runs.watch import Watch
from screens.sample.alternatives import Alternatives
from screens.sample.checkpoint_picker import Picker
from screens.sample.generation import Asked, Speech, SpeechPane
from screens.sample.generations import Speeches
from screens.sample.model_list import Choice, Shelf, ShelfRun, first_choice, other_choice
from screens.sample.prompt import PromptPane
from screens.sample.sampling_session import Conversation
from screens.sample.save import save
from screens.sample.settings_bar import SettingsBar
from screens.shared.app_screen import LabScreen
from screens.shared.background import is_busy, run_in_background
from screens.state import Lab
from screens.widgets.header import LabHeader
from screens.widgets.keys import Keys
from screens.widgets.token_view import TokenView

_FRAME = 1 / 20  # seconds between looks at what was drawn


class _HasLab(Protocol):
    lab: Lab


class SampleScreen(LabScreen):
    """Asks the sampling process and shows what it says."""

    CSS_PATH = "sample.tcss"
    AUTO_FOCUS = "#first TokenView"  # not the prompt: the lab's keys hold until one wants to write
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,f5", "generate", "Go", id="sample.go", tooltip="Let the checkpoint go on from the prompt"),
        Binding("x", "stop", "Stop", id="sample.stop", tooltip="Draw no more tokens"),
        Binding("e", "edit", "Edit", id="sample.edit", tooltip="Write the prompt"),
        Binding("comma", "set", "Set", id="sample.set", tooltip="Temperature and others", key_display=",", show=False),
        Binding("c", "choose", "Model", id="sample.choose", tooltip="Choose another run or checkpoint"),
        Binding("b", "beside", "Beside", id="sample.beside", tooltip="A second checkpoint on the same prompt"),
        Binding("h", "shade", "Heat", id="sample.shade", tooltip="Shade tokens by how surprising they were"),
        Binding("n", "next_seed", "Next", id="sample.next_seed", tooltip="The next seed, and again"),
        Binding("y", "copy", "Copy", id="sample.copy", tooltip="Copy the text"),
        Binding("w", "save", "Save", id="sample.save", tooltip="Write the text into the run's directory"),
        Binding("escape", "back", "Back", id="sample.back", tooltip="Leave what is written in, or stop", show=False),
    ]

    settings = query_one(SettingsBar)
    prompt = query_one("#prompt", Input)
    speeches = query_one(Speeches)
    alternatives = query_one(Alternatives)

    def __init__(self) -> None:
        super().__init__()
        self._conversation = Conversation()
        self._shelf = Shelf()
        self._runs: Sequence[ShelfRun] = ()
        self._opened_with: Watch | None = None  # the lab's run when this screen was last opened

    @property
    def lab(self) -> Lab:
        return cast("_HasLab", self.app).lab

    def compose(self) -> ComposeResult:
        ascii = self.lab.ascii
        yield LabHeader("sample", self.lab)
        with Vertical(id="sample"):
            yield SettingsBar(id="settings")
            yield PromptPane(id="prompt-pane")
            yield Speeches(ascii, monochrome=ascii or self.app.no_color, id="speeches")
            yield Alternatives(ascii, id="alternatives")
        yield Keys()

    def on_mount(self) -> None:
        self._pump = self.set_interval(_FRAME, self._hear, pause=True)

    def on_unmount(self) -> None:
        self._conversation.close()

    # --- which checkpoints --------------------------------------------------------------------------

    def on_screen_resume(self) -> None:
        self.query_one(LabHeader).look_again()
        self.show_wanted()

    def show_wanted(self) -> None:
        """Show the requested run, or the selected one if that has changed."""
        wanted, self.lab.to_hear = self.lab.to_hear, None
        selected = self.lab.selected
        if wanted is None and (self._opened_with is None or self._opened_with.run != selected):
            wanted = selected
        if wanted:
            self._opened_with = Watch(wanted)
            first = self.speeches.first
            if first.choice is None or first.choice.run != wanted.path:
                self._choose(first, Choice(wanted.path))
        if self.lab.watches:  # else the lab has not been looked at yet: it says when it has
            self.look_again()

    def on_runs_refreshed(self) -> None:
        self.query_one(LabHeader).look_again()
        self.look_again()

    def look_again(self) -> None:
        """Look for checkpoints, in a thread."""
        if not is_busy(self, "look"):
            look = functools.partial(self._look, list(self.lab.watches), self._opened_with)
            run_in_background(self, look, functools.partial(self._take_runs, self.lab.is_partial), group="look")

    def _look(self, watches: list[Watch], opened_with: Watch | None) -> Sequence[ShelfRun]:
        known = {watch.run.path for watch in watches}
        if opened_with and opened_with.run.path not in known and opened_with.run.path.exists():  # it lies elsewhere
            opened_with.poll()
            watches.append(opened_with)
        return self._shelf.look(watches)

    def _take_runs(self, is_partial: bool, runs: Sequence[ShelfRun]) -> None:
        first = self.speeches.first
        # some of the runs were read so far: the newest may be missing
        choice = first_choice(runs) if first.choice is None and not is_partial else None
        if runs is self._runs and choice is None:
            return
        self._runs = runs
        if choice:
            first.choose(choice)
        for pane in self.speeches.both:
            pane.take(runs)
        if isinstance(self.app.screen, Picker):
            self.app.screen.take(runs)

    def _choose(self, pane: SpeechPane, choice: Choice) -> None:
        """Let somebody else speak, at once where somebody has spoken."""
        asked = pane.asked
        self._hush(pane)
        pane.choose(choice)
        if asked and pane.chosen:
            self._ask(pane, asked)

    # --- asking and hearing -------------------------------------------------------------------------

    @on(Input.Submitted, "#prompt")
    @on(SettingsBar.Submitted)
    def action_generate(self) -> None:
        if self.settings.problems:
            self.notify(" ".join(self.settings.problems), severity="error")
            self.settings.focus_problem()
            return
        asked = Asked(self.prompt.value, self.settings.values)
        for pane in self.speeches.shown:
            self._hush(pane)
            self._ask(pane, asked)
        self.speeches.target.view.focus()

    def _ask(self, pane: SpeechPane, asked: Asked) -> None:
        checkpoint = pane.chosen
        if checkpoint is None:
            self.notify(pane.why_silent, severity="warning")
            return
        starting = not self._conversation.alive
        request = self._conversation.ask(checkpoint.path, asked.prompt, asked.settings, pane.hear)
        pane.begin(asked, request, starting)
        self._pump.resume()

    def _hush(self, pane: SpeechPane) -> None:
        if pane.request is not None:
            self._conversation.forget(pane.request)
            pane.end("stopped")

    def _hear(self) -> None:
        self._conversation.pump()
        for pane in self.speeches.shown:
            pane.tick()
        if not self._conversation.open:
            self._pump.pause()

    @on(TokenView.CursorMoved)
    def _show_alternatives(self, message: TokenView.CursorMoved) -> None:
        cursor = message.token_view.cursor
        if cursor is not None and message.token is not None:
            self.speeches.drop_cursors(besides=message.token_view)
            self.alternatives.show(message.token, f"token {cursor.token + 1:,}")
        elif not self.speeches.has_cursor:
            self.alternatives.show(None)

    # --- keys ---------------------------------------------------------------------------------------

    def action_stop(self) -> None:
        if not self.speeches.requests:
            self.notify("Nothing is being drawn that could be stopped.")
        for request in self.speeches.requests:
            self._conversation.cancel(request)

    def action_back(self) -> None:
        """Out of what is written in; else an end to what is drawn; else away with the cursor."""
        if isinstance(self.focused, Input):
            self.speeches.target.view.focus()
        elif self.speeches.has_cursor and not self.speeches.requests:
            self.speeches.drop_cursors()
        else:
            self.action_stop()

    def action_edit(self) -> None:
        self.prompt.focus()

    def action_set(self) -> None:
        self.settings.focus_problem()

    def action_choose(self) -> None:
        pane = self.speeches.target
        if not self._runs:
            self.notify(pane.why_silent, severity="warning")
            return

        def take(choice: Choice | None) -> None:
            if choice and choice != pane.choice:
                self._choose(pane, choice)

        self.app.push_screen(Picker(self._runs, pane.choice, self.look_again, self.lab.ascii), take)

    def action_beside(self) -> None:
        """A second pane, or one again."""
        first, second = self.speeches.both
        if second.display:
            self._hush(second)
            second.display = False
            self.speeches.drop_cursors(besides=first.view)
            first.view.focus()
            return
        choice = first.choice and other_choice(self._runs, first.choice)
        if choice is None:
            self.notify("There is no second checkpoint yet: train another run, or this one for longer.")
            return
        second.display = True
        if second.chosen is None:
            second.choose(choice)
        if first.asked:
            self._ask(second, first.asked)
        second.view.focus()

    def action_shade(self) -> None:
        self.speeches.shade(not self.speeches.heat)

    def action_next_seed(self) -> None:
        if not self.settings.problems:
            self.settings.next_seed()
        self.action_generate()

    def action_copy(self) -> None:
        speech = self.speeches.target.speech
        if speech is None:
            self.notify("There is no text to copy yet: enter lets the checkpoint speak.")
            return
        self.app.copy_to_clipboard(speech.text)
        words = f"{len(speech.text):,} characters of {speech.checkpoint.run_id} step {speech.checkpoint.step:,}"
        self.notify(f"Copied {words}, if your terminal lets programs copy.")

    def action_save(self) -> None:
        if self.lab.readonly:
            self.notify("read-only mode: the dashboard was opened with --readonly. y copies the text.")
            return
        speeches = [pane.speech for pane in self.speeches.shown if pane.speech]
        if not speeches:
            self.notify("There is no text to save yet: enter lets the checkpoint speak.")
        for speech in speeches:
            run_in_background(self, functools.partial(_save, speech), self.notify, group="save", queue=True)


def _save(speech: Speech) -> str:
    try:
        return f"Saved as {save(speech)}"
    except OSError as error:
        raise UserError(f"{speech.run_path} cannot be written ({error.strerror}).") from None
