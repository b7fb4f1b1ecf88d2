"""The text that one checkpoint generates, with its status and the checkpoint's name in the border."""

import time
from collections.abc import Sequence

from rich.markup import escape
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.reactive import var
from textual.widgets import Static

from engines.generation.client import Reply
from engines.output.terminal_text import replace_symbols
from engines.runs.watched_checkpoints import CheckpointFolder
from screens.sample.generation import Generation, GenerationProgress, GenerationRequest
from screens.sample.labels import format_checkpoint
from screens.sample.model_list import CheckpointChoice, RunCheckpoints, explain_missing_checkpoint, find_checkpoint
from screens.widgets.token_layout import ShownToken
from screens.widgets.token_view import TokenView

_STATUS_INTERVAL = 0.1  # seconds between updates of what changes with every token
_BORDER = 6  # columns of the top border that are not its title


class GenerationPane(Vertical):
    """Shows the replies to a request; `Generations` sends it."""

    runs: var[Sequence[RunCheckpoints] | None] = var(None)
    choice: var[CheckpointChoice | None] = var(None)
    status: var[str] = var("")

    def __init__(self, ascii: bool, monochrome: bool, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self._ascii = ascii
        self._monochrome = monochrome
        self._progress: GenerationProgress | None = None
        self._updated_at = 0.0

    def compose(self) -> ComposeResult:
        yield Static(classes="status", markup=False)
        view = TokenView()
        view.ascii, view.monochrome = self._ascii, self._monochrome
        yield view

    def on_mount(self) -> None:
        self._update()

    def on_resize(self) -> None:
        self._update()

    def watch_runs(self) -> None:
        self._update()

    def watch_choice(self) -> None:
        """Show nothing of the checkpoint that was chosen before."""
        self._progress = None
        if self.is_mounted:
            self.view.begin("", 1)
        self._update()

    def watch_status(self, status: str) -> None:
        if self.is_mounted:
            self.query_one(".status", Static).update(status)

    @property
    def view(self) -> TokenView:
        """The view of the tokens."""
        return self.query_one(TokenView)

    @property
    def checkpoint(self) -> CheckpointFolder | None:
        """The checkpoint that the next request will use."""
        return find_checkpoint(self.runs or (), self.choice)

    @property
    def missing_reason(self) -> str:
        """A sentence that explains why the chosen checkpoint is missing; empty if it exists."""
        return explain_missing_checkpoint(self.runs, self.choice)

    # --- one request --------------------------------------------------------------------------------

    def begin(self, progress: GenerationProgress) -> None:
        """Show a new request instead of the previous one."""
        self._progress = progress
        self.view.begin(progress.request.prompt, 1)
        self._update()

    def show_replies(self, replies: Sequence[Reply]) -> None:
        """Show replies of the sampling process to the current request."""
        assert self._progress
        tokens = self._progress.add(replies)
        if tokens:
            self.view.extend(0, tokens)
        if replies[-1]["kind"] != "token":
            self._update()

    def update_status(self) -> None:
        """Update the measures while tokens arrive, at most ten times per second."""
        if self.is_generating and time.monotonic() - self._updated_at >= _STATUS_INTERVAL:
            self._update()

    def stop(self) -> None:
        """Expect no more replies."""
        if self._progress:
            self._progress.stop()
        self._update()

    @property
    def request_id(self) -> int | None:
        """The id of the request that is being answered."""
        return self._progress.id if self._progress and self._progress.is_running else None

    @property
    def is_generating(self) -> bool:
        """True while a request is being answered."""
        return self.request_id is not None

    @property
    def request(self) -> GenerationRequest | None:
        """The latest request to the chosen checkpoint."""
        return self._progress.request if self._progress else None

    @property
    def tokens(self) -> Sequence[ShownToken]:
        """The tokens of the latest request so far."""
        return self._progress.tokens if self._progress else ()

    @property
    def generation(self) -> Generation | None:
        """The text so far; None if no token has been sampled."""
        return self._progress.generation if self._progress else None

    # --- labels -------------------------------------------------------------------------------------

    def _update(self) -> None:
        if not self.is_mounted:
            return
        self._updated_at = time.monotonic()
        progress = self._progress
        self.set_class(self.is_generating, "-generating")
        self.set_class(bool(self.tokens), "-text")
        self.set_class(bool(progress and progress.has_failed), "-failed")
        default = self.missing_reason or "Press enter to generate, e to edit the prompt"
        self.status = replace_symbols(progress.status if progress else default, self._ascii)
        self.border_title = escape(self._title())
        self.border_subtitle = escape(replace_symbols(self._subtitle(), self._ascii))

    def _title(self) -> str:
        folder = self._progress.checkpoint if self._progress else self.checkpoint
        if folder is None:
            return self.choice.run_path.name if self.choice else "No checkpoint"
        title = replace_symbols(format_checkpoint(folder), self._ascii)
        # Textual would end a title that is too long with a character that is not ASCII
        return title[: max(0, self.outer_size.width - _BORDER)] if self._ascii else title

    def _subtitle(self) -> str:
        """Say if a running run has written a newer checkpoint than the one that was sampled."""
        newest = self.checkpoint
        if newest and self._progress and newest.step > self._progress.checkpoint.step:
            return f"Newer checkpoint: step {newest.step:,}"
        return "Newest checkpoint" if newest and self.choice and self.choice.step is None else ""
