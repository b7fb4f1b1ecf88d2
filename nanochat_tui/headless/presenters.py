"""Presenters show a run while `follow` reads its events: as JSON lines, plain lines or a progress bar."""

import sys
import time
from typing import Protocol

from engines.events import Event
from engines.output.terminal_text import visible, visible_line
from engines.runs.history import History
from nanochat_tui.headless.event_text import format_event, format_metrics, format_phase, format_progress
from nanochat_tui.headless.formatting import format_step
from nanochat_tui.streams import can_repaint, console

_PROGRESS_INTERVAL = 2.0  # seconds between plain progress lines


class Presenter(Protocol):
    """Shows events and messages. `close` is called once, at the end."""

    def show(self, line: bytes, event: Event, history: History) -> None:
        """Show an event: `line` as it was logged, and `history` including it."""

    def print_message(self, text: str) -> None:
        """Print one line on stderr."""

    def close(self) -> None: ...


def choose_presenter(as_json: bool, steps: int) -> Presenter:
    """Return the presenter that suits the options and stderr."""
    if as_json:
        return JsonLines()
    return ProgressBar(steps) if can_repaint() else PlainLines(steps)


class JsonLines:
    """Print the lines of the log on stdout: to a pipe byte for byte, to a terminal without control characters."""

    def show(self, line: bytes, event: Event, history: History) -> None:
        if sys.stdout.isatty():
            print(line.decode(errors="replace"), flush=True)
            return
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    def print_message(self, text: str) -> None:
        print(text, file=sys.stderr)

    def close(self) -> None:
        pass


class PlainLines:
    """Print one line per event on stderr, and a progress line every two seconds."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._next_progress = time.monotonic() + _PROGRESS_INTERVAL

    def show(self, line: bytes, event: Event, history: History) -> None:
        if text := format_event(event, history, self._steps):
            self.print_message(text)
        elif event["kind"] in ("steps", "phase") and time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + _PROGRESS_INTERVAL
            is_step = event["kind"] == "steps"
            self.print_message(format_progress(history, self._steps) if is_step else f"     {format_phase(event)}")

    def print_message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class ProgressBar:
    """Draw a progress bar on the terminal, with one line per event above it."""

    def __init__(self, steps: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._steps = steps
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=console(sys.stderr),
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("starting", total=steps, metrics="")
        self._progress.start()

    def show(self, line: bytes, event: Event, history: History) -> None:
        if text := format_event(event, history, self._steps):
            self.print_message(text)
        if event["kind"] == "phase":
            self._progress.update(self._task, description=visible_line(format_phase(event)))
        elif event["kind"] in ("steps", "eval"):
            self._progress.update(
                self._task,
                description=format_step(history.step, self._steps),
                completed=history.fraction_done(self._steps) * self._steps,
                metrics=format_metrics(history, self._steps),
            )

    def print_message(self, text: str) -> None:
        self._progress.console.print(visible(text))

    def close(self) -> None:
        self._progress.stop()
