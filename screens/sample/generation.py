"""One checkpoint's answer: who speaks, how it goes, and the text as it is drawn."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from engines.generation.client import Reply
from engines.output.terminal_text import replace_symbols
from engines.runs.watched_checkpoints import CheckpointFolder
from screens.sample.model_list import Choice, ShelfRun, run_of
from screens.sample.words import checkpoint_words
from screens.widgets.token_view import ShownToken, TokenView

_CLOCK = 0.1  # seconds between two looks at what changes with every token
_FRAME = 6  # columns of the line at the top that are not its title
_BOS = 0  # in every tokenizer: drawn, it ends the document
_EMPTY_LAB = (
    "There are no runs yet, so nobody can speak. Start one: 1 opens the form, F5 starts it as it stands, "
    "which takes some seconds. Then 3 comes back here."
)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a checkpoint was asked."""

    prompt: str
    settings: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Speech:
    """What a checkpoint said to what it was asked."""

    checkpoint: CheckpointFolder
    run_path: Path
    asked: Asked
    text: str


class SpeechPane(Vertical):
    """Asks nobody: it is told who is asked, and hears the answers."""

    def __init__(self, ascii: bool, monochrome: bool, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.choice: Choice | None = None
        self.request: int | None = None  # that is being answered
        self._ascii = ascii
        self._monochrome = monochrome
        self._runs: Sequence[ShelfRun] | None = None  # not looked at yet
        self._checkpoint: CheckpointFolder | None = None  # that was asked
        self._asked: Asked | None = None
        self._run_path = Path()
        self._tokens: list[ShownToken] = []
        self._bits = 0.0
        self._phase = ""  # while it does not speak yet
        self._since = 0.0
        self._first_heard = 0.0  # when the first tokens came, and how many they were: they tell no speed
        self._heard_first = 0
        self._outcome = ""
        self._told_at = 0.0

    def compose(self) -> ComposeResult:
        yield Static(classes="status", markup=False)
        view = TokenView()
        view.ascii, view.monochrome = self._ascii, self._monochrome
        yield view

    def on_mount(self) -> None:
        self._tell()

    def on_resize(self) -> None:
        self._tell()

    # --- who speaks ---------------------------------------------------------------------------------

    def choose(self, choice: Choice) -> None:
        """Somebody else is to speak; what was said before is gone."""
        self.choice = choice
        self._checkpoint, self._asked, self._tokens, self._phase, self._outcome = None, None, [], "", ""
        self.view.begin("", 1)
        self._tell()

    def take(self, runs: Sequence[ShelfRun]) -> None:
        """The runs as they are now."""
        self._runs = runs
        self._tell()

    @property
    def chosen(self) -> CheckpointFolder | None:
        """The checkpoint that would speak now."""
        run = run_of(self._runs or (), self.choice)
        return run.find(self.choice) if run and self.choice else None

    @property
    def why_silent(self) -> str:
        """Why nobody can speak, in a sentence; empty where somebody can."""
        run = run_of(self._runs or (), self.choice)
        if self.chosen:
            return ""
        if self._runs is None:
            return "Looking for checkpoints…"
        if not self._runs:
            return _EMPTY_LAB
        if run is None or self.choice is None:
            return "That run is gone. c chooses another checkpoint."
        if run.checkpoints:
            return f"Step {self.choice.step} of {run.run.id} is not kept any more. c chooses another checkpoint."
        if run.saved:
            return f"{run.run.id} has no checkpoint any more: those it wrote are gone. c chooses another run."
        if run.live:
            return f"{run.run.id} has no checkpoint yet: it can speak once its first is written. c chooses another run."
        return f"{run.run.id} has no checkpoint: it {_ended(run.state)} before it wrote one. c chooses another run."

    # --- what it says -------------------------------------------------------------------------------

    def begin(self, asked: Asked, request: int, starting: bool) -> None:
        """A request is on its way to the checkpoint; `starting` if the sampling process is not there yet."""
        assert self.chosen and self.choice
        self.request, self._checkpoint, self._asked, self._run_path = request, self.chosen, asked, self.choice.run
        self._tokens, self._bits, self._outcome = [], 0.0, ""
        self._phase = "starting the sampling process" if starting else "waiting for the sampling process"
        self._since = time.monotonic()
        self.view.begin(asked.prompt, 1)
        self._tell()

    def hear(self, replies: Sequence[Reply]) -> None:
        tokens = [_shown(reply) for reply in replies if reply["kind"] == "token"]
        if tokens:
            if not self._tokens:
                self._phase, self._first_heard, self._heard_first = "", time.monotonic(), len(tokens)
            self._tokens += tokens
            self._bits += sum(token.bits for token in tokens)
            self.view.extend(0, tokens)
        last = replies[-1]
        if last["kind"] == "loading" and self._checkpoint:
            self._phase = f"loading {self._checkpoint.run_id} step {self._checkpoint.step:,}"
            self._since = time.monotonic()
            self._tell()
        elif last["kind"] == "done":
            self.end(self._done(last))
        elif last["kind"] == "error":
            message = str(last["message"])
            self.end(message[:1].upper() + message[1:])
            self.set_class(True, "-failed")

    def tick(self) -> None:
        """The clock goes on."""
        if self.request is not None and time.monotonic() - self._told_at >= _CLOCK:
            self._tell()

    @property
    def speech(self) -> Speech | None:
        """What was said; None where nothing was."""
        if not (self._checkpoint and self._asked and self._tokens):
            return None
        text = self._asked.prompt + "".join(token.text for token in self._tokens)
        return Speech(self._checkpoint, self._run_path, self._asked, text)

    @property
    def asked(self) -> Asked | None:
        """What it was asked last."""
        return self._asked

    @property
    def tokens(self) -> Sequence[ShownToken]:
        return self._tokens

    @property
    def view(self) -> TokenView:
        return self.query_one(TokenView)

    def end(self, outcome: str) -> None:
        """Nothing more is to come."""
        self.request, self._phase, self._outcome = None, "", outcome
        self._tell()

    def _done(self, last: Reply) -> str:
        measure = self._measure(last["tokens"], last["seconds"])
        if last["cancelled"]:
            return f"stopped · {measure}"
        return f"done · {measure}" if last["tokens"] else "done: no tokens were asked for"

    # --- what is told about it ------------------------------------------------------------------------

    def _measure(self, drawn: int, seconds: float) -> str:
        """What there is, and how fast so many tokens of it came."""
        count = len(self._tokens)
        parts = [f"{count:,} token{'' if count == 1 else 's'}"]
        if drawn > 1 and seconds > 0:
            parts.append(f"{drawn / seconds:,.0f} tok/s")
        if count and math.isfinite(self._bits):
            parts.append(f"{self._bits / count:.2f} bits/token")
        return " · ".join(parts)

    def _status(self) -> str:
        if self._phase:
            return f"{self._phase}… {time.monotonic() - self._since:.1f} s"
        if self.request is not None:
            return f"● {self._measure(len(self._tokens) - self._heard_first, time.monotonic() - self._first_heard)}"
        if self._outcome:
            return self._outcome
        return self.why_silent or "enter lets it speak · e edits the prompt"

    def _tell(self) -> None:
        if not self.is_mounted:
            return
        self._told_at = time.monotonic()
        self.set_class(self.request is not None, "-speaking")
        self.set_class(bool(self._tokens), "-text")
        if self.request is not None or not self._outcome:
            self.set_class(False, "-failed")
        self.query_one(".status", Static).update(replace_symbols(self._status(), self._ascii))
        who = self._checkpoint or self.chosen
        title = checkpoint_words(who) if who else self.choice.run.name if self.choice else "nobody"
        if self._ascii:  # else the frame would cut it with a sign of its own
            title = replace_symbols(title, True)[: max(0, self.outer_size.width - _FRAME)]
        self.border_title = escape(title)
        self.border_subtitle = escape(replace_symbols(self._news(), self._ascii))

    def _news(self) -> str:
        """A run goes on: what was said may be of an older checkpoint than there is."""
        chosen = self.chosen
        if chosen and self._checkpoint and chosen.step > self._checkpoint.step:
            return f"step {chosen.step:,} is there now"
        return "newest checkpoint" if chosen and self.choice and self.choice.step is None else ""


def _shown(reply: Reply) -> ShownToken:
    return ShownToken(reply["text"], reply["probability"], reply["alternatives"], reply["token"] == _BOS)


def _ended(state: str) -> str:
    return {"crashed": "crashed", "killed": "was killed", "halted": "was halted by a guard"}.get(state, state)
