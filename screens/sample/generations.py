"""The generated text of one checkpoint or of two side by side, and the sampling process that answers their requests."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.reactive import var

from screens.sample.generation import GenerationProgress, GenerationRequest
from screens.sample.generation_pane import GenerationPane
from screens.sample.legend import SurprisalLegend
from screens.sample.model_list import CheckpointChoice, RunCheckpoints
from screens.sample.sampling_session import SamplingSession
from screens.widgets.token_view import TokenView

_REPLY_INTERVAL = 1 / 20  # seconds between polls of the sampling process


class Generations(Vertical):
    """One or two panes; knows which of them the keys are for, and sees to it that only one has a cursor."""

    runs: var[Sequence[RunCheckpoints] | None] = var(None)
    is_comparing: var[bool] = var(False)
    heat: var[bool] = var(False)

    def __init__(self, ascii: bool, monochrome: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self.first = GenerationPane(ascii, monochrome, id="first")
        self.second = GenerationPane(ascii, monochrome, id="second")
        self._legend = SurprisalLegend(self.first)
        self._focused_last = self.first
        self._session = SamplingSession()

    def compose(self) -> ComposeResult:
        with Horizontal(id="panes"):
            for pane in self.panes:
                yield pane.data_bind(Generations.runs)
        yield self._legend

    def on_mount(self) -> None:
        self._timer = self.set_interval(_REPLY_INTERVAL, self._show_replies, pause=True)

    def on_unmount(self) -> None:
        self._session.close()

    def watch_is_comparing(self, is_comparing: bool) -> None:
        self.second.display = is_comparing

    def watch_heat(self, heat: bool) -> None:
        self._legend.display = heat
        if self.is_mounted:
            for pane in self.panes:
                pane.view.heat = heat

    # --- the panes ----------------------------------------------------------------------------------

    @property
    def panes(self) -> tuple[GenerationPane, GenerationPane]:
        """Both panes, shown or not."""
        return self.first, self.second

    @property
    def shown(self) -> tuple[GenerationPane, ...]:
        """The panes that are visible."""
        return self.panes if self.is_comparing else (self.first,)

    @property
    def target(self) -> GenerationPane:
        """The pane that has the focus or had it last."""
        return self._focused_last if self._focused_last in self.shown else self.first

    @property
    def has_cursor(self) -> bool:
        """True if a token of one of the panes is selected."""
        return any(pane.view.cursor is not None for pane in self.panes)

    def clear_cursors(self, except_in: TokenView | None = None) -> None:
        """Select no token, except in one of the views."""
        for pane in self.panes:
            if pane.view is not except_in:
                pane.view.cursor = None

    def on_descendant_focus(self) -> None:
        self._focused_last = next((pane for pane in self.panes if pane.has_focus_within), self._focused_last)

    # --- requests -----------------------------------------------------------------------------------

    @property
    def is_generating(self) -> bool:
        """True while a request of one of the panes is being answered."""
        return any(pane.is_generating for pane in self.panes)

    def generate(self, request: GenerationRequest, panes: Sequence[GenerationPane]) -> None:
        """Send a request to the checkpoints of these panes, or show why one of them has none."""
        for pane in panes:
            self.discard(pane)
            checkpoint, choice = pane.checkpoint, pane.choice
            if checkpoint is None or choice is None:
                self.notify(pane.missing_reason, severity="warning")
                continue
            is_starting = not self._session.is_running
            id = self._session.request(checkpoint.path, request.prompt, request.settings, pane.show_replies)
            pane.begin(GenerationProgress(id, checkpoint, choice.run_path, request, is_starting))
            self._timer.resume()

    def choose(self, pane: GenerationPane, choice: CheckpointChoice) -> None:
        """Use another checkpoint in a pane, and repeat the request that the pane has shown."""
        request = pane.request
        self.discard(pane)
        pane.choice = choice
        if request and pane.checkpoint:
            self.generate(request, [pane])

    def cancel(self) -> None:
        """Stop all requests; each is answered once more."""
        for pane in self.panes:
            if pane.request_id is not None:
                self._session.cancel(pane.request_id)

    def discard(self, pane: GenerationPane) -> None:
        """Stop the request of a pane and ignore what is still answered to it."""
        if pane.request_id is not None:
            self._session.discard(pane.request_id)
            pane.stop()

    def _show_replies(self) -> None:
        self._session.dispatch_replies()
        for pane in self.shown:
            pane.update_status()
        if not self._session.has_pending:
            self._timer.pause()
