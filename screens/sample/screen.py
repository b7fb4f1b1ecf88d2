"""The sample screen: a prompt, sampling settings, and the text of one checkpoint or of two side by side."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.reactive import var
from textual.widgets import Input

from engines.runs.watch import WatchedRun
from screens.sample.alternatives import Alternatives
from screens.sample.checkpoint_picker import CheckpointPicker
from screens.sample.generation import Generation, GenerationRequest
from screens.sample.generations import Generations
from screens.sample.model_list import CheckpointChoice, ModelList, RunCheckpoints, comparison_choice, default_choice
from screens.sample.prompt import PromptPane
from screens.sample.save import save_generation
from screens.sample.settings_bar import SettingsBar
from screens.shared.app_screen import AppScreen
from screens.shared.background import is_busy, run_in_background
from screens.widgets.footer import AppFooter
from screens.widgets.header import AppHeader
from screens.widgets.token_view import TokenView


class SampleScreen(AppScreen):
    """Generates text with one or two checkpoints, and shows probabilities and alternatives of its tokens."""

    CSS_PATH = "sample.tcss"
    AUTO_FOCUS = "#first TokenView"  # not the prompt, which would take the keys below
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,f5", "generate", "Generate", id="sample.generate", tooltip="Generate text after the prompt",
                key_display="enter"),
        Binding("x", "stop", "Stop", id="sample.stop", tooltip="Stop generating"),
        Binding("e", "edit", "Edit", id="sample.edit", tooltip="Edit the prompt"),
        Binding("comma", "edit_settings", "Settings", id="sample.settings", key_display=",", show=False,
                tooltip="Edit temperature and other sampling settings"),
        Binding("c", "choose", "Model", id="sample.choose", tooltip="Choose another run or checkpoint"),
        Binding("b", "compare", "Compare", id="sample.compare", tooltip="Compare two checkpoints on the same prompt"),
        Binding("h", "shade", "Heat", id="sample.shade", tooltip="Shade tokens by surprisal"),
        Binding("y", "copy", "Copy", id="sample.copy", tooltip="Copy the text to the clipboard"),
        Binding("w", "save", "Save", id="sample.save", tooltip="Save the text in the run directory"),
        Binding("n", "next_seed", "Next", id="sample.next_seed", tooltip="Generate with the next seed"),
        Binding("escape", "back", "Back", id="sample.back", show=False,
                tooltip="Leave the input, remove the cursor or stop generating"),
    ]  # fmt: skip

    runs: var[Sequence[RunCheckpoints] | None] = var(None)

    settings = query_one(SettingsBar)
    prompt = query_one("#prompt", Input)
    generations = query_one(Generations)
    alternatives = query_one(Alternatives)

    def __init__(self) -> None:
        super().__init__()
        self._model_list = ModelList()
        self._opened_with: WatchedRun | None = None  # the selected run when this screen was last opened

    def compose(self) -> ComposeResult:
        ascii = self.state.ascii
        yield AppHeader("sample", self.state)
        with Vertical(id="sample"):
            yield SettingsBar(id="settings")
            yield PromptPane(id="prompt-pane")
            generations = Generations(ascii, monochrome=ascii or self.app.no_color, id="generations")
            yield generations.data_bind(SampleScreen.runs)
            yield Alternatives(ascii, id="alternatives")
        yield AppFooter()

    # --- checkpoints --------------------------------------------------------------------------------

    def on_screen_resume(self) -> None:
        self.query_one(AppHeader).update_status()
        self.show_requested_run()

    def show_requested_run(self) -> None:
        """Choose the run that another screen requested, or the selected one if that has changed."""
        run, self.state.sample_run = self.state.sample_run, None
        selected = self.state.selected
        if run is None and (self._opened_with is None or self._opened_with.run != selected):
            run = selected
        if run:
            self._opened_with = WatchedRun(run)
            first = self.generations.first
            if first.choice is None or first.choice.run_path != run.path:
                self.generations.choose(first, CheckpointChoice(run.path))
        if self.state.watches:  # else the runs are still being read, and `RunsRefreshed` follows
            self.update_runs()

    def on_runs_refreshed(self) -> None:
        self.query_one(AppHeader).update_status()
        self.update_runs()

    def update_runs(self) -> None:
        """Find new checkpoints in a thread."""
        if not is_busy(self, "checkpoints"):
            read = partial(self._read_runs, list(self.state.watches), self._opened_with)
            run_in_background(self, read, partial(self._set_runs, self.state.is_partial), group="checkpoints")

    def _read_runs(self, watches: list[WatchedRun], opened_with: WatchedRun | None) -> Sequence[RunCheckpoints]:
        """Read the checkpoints of these runs and of the one that the screen was opened with, wherever that is."""
        known = {watch.run.path for watch in watches}
        if opened_with and opened_with.run.path not in known and opened_with.run.path.exists():
            opened_with.poll()
            watches.append(opened_with)
        return self._model_list.update(watches)

    def _set_runs(self, is_partial: bool, runs: Sequence[RunCheckpoints]) -> None:
        self.runs = runs
        first = self.generations.first
        if first.choice is None and not is_partial:  # else the newest run may not have been read yet
            first.choice = default_choice(runs)

    def watch_runs(self, runs: Sequence[RunCheckpoints] | None) -> None:
        if runs is not None and isinstance(self.app.screen, CheckpointPicker):
            self.app.screen.runs = runs

    # --- generating ---------------------------------------------------------------------------------

    @on(Input.Submitted, "#prompt")
    @on(SettingsBar.Submitted)
    def action_generate(self) -> None:
        if self.settings.problems:
            self.notify(" ".join(self.settings.problems), severity="error")
            self.settings.focus_entry()
            return
        request = GenerationRequest(self.prompt.value, self.settings.values)
        self.generations.generate(request, self.generations.shown)
        self.generations.target.view.focus()

    def action_next_seed(self) -> None:
        if not self.settings.problems:
            self.settings.increment_seed()
        self.action_generate()

    def action_stop(self) -> None:
        if not self.generations.is_generating:
            self.notify("Nothing is generating.")
        self.generations.cancel()

    def action_back(self) -> None:
        """Leave the input, or else stop generating, or else remove the cursor."""
        if isinstance(self.focused, Input):
            self.generations.target.view.focus()
        elif self.generations.has_cursor and not self.generations.is_generating:
            self.generations.clear_cursors()
        else:
            self.action_stop()

    def action_edit(self) -> None:
        self.prompt.focus()

    def action_edit_settings(self) -> None:
        self.settings.focus_entry()

    # --- looking at checkpoints and tokens ----------------------------------------------------------

    def action_choose(self) -> None:
        pane = self.generations.target
        if not self.runs:
            self.notify(pane.missing_reason, severity="warning")
            return

        def choose(choice: CheckpointChoice | None) -> None:
            if choice and choice != pane.choice:
                self.generations.choose(pane, choice)

        self.app.push_screen(CheckpointPicker(self.runs, pane.choice, self.update_runs, self.state.ascii), choose)

    def action_compare(self) -> None:
        """Show a second pane with another checkpoint, or hide it."""
        first, second = self.generations.panes
        if self.generations.is_comparing:
            self.generations.discard(second)
            self.generations.is_comparing = False
            self.generations.clear_cursors(except_in=first.view)
            first.view.focus()
            return
        choice = first.choice and comparison_choice(self.runs or (), first.choice)
        if choice is None:
            self.notify("No second checkpoint to compare with: train another run, or train this one for longer.")
            return
        self.generations.is_comparing = True
        if second.checkpoint is None:
            second.choice = choice
        if first.request:
            self.generations.generate(first.request, [second])
        second.view.focus()

    def action_shade(self) -> None:
        self.generations.heat = not self.generations.heat

    @on(TokenView.CursorMoved)
    def show_alternatives(self, message: TokenView.CursorMoved) -> None:
        """Show the alternatives to the token at the cursor, and remove the cursor of the other pane."""
        cursor = message.token_view.cursor
        if cursor is not None and message.token is not None:
            self.generations.clear_cursors(except_in=message.token_view)
            self.alternatives.show(message.token, f"token {cursor.token + 1:,}")
        elif not self.generations.has_cursor:
            self.alternatives.show(None)

    # --- keeping a text -----------------------------------------------------------------------------

    def action_copy(self) -> None:
        generation = self.generations.target.generation
        if generation is None:
            self.notify("No text to copy yet. Press enter to generate.")
            return
        self.app.copy_to_clipboard(generation.text)
        checkpoint = generation.checkpoint
        source = f"{checkpoint.run_id} step {checkpoint.step:,}"
        self.notify(f"Copied {len(generation.text):,} characters of {source}, if your terminal allows it.")

    def action_save(self) -> None:
        if self.state.readonly:
            self.notify(f"{self.state.refusal} Press y to copy the text.")
            return
        texts = [pane.generation for pane in self.generations.shown if pane.generation]
        if not texts:
            self.notify("No text to save yet. Press enter to generate.")
        for generation in texts:
            run_in_background(self, partial(_save, generation), self.notify, group="save", queue=True)


def _save(generation: Generation) -> str:
    return f"Saved as {save_generation(generation)}"
