"""How a run reads in words: one line an event in a pipe, a progress bar above the same lines on a terminal."""

import sys
import time
from typing import Any

from engines.events import Event
from engines.output.terminal_text import visible, visible_line
from engines.output.units import format_duration
from engines.runs.history import History
from nanochat_tui.streams import console

_WIDE = 1e5  # from here on a number is written with an exponent
_PROGRESS_INTERVAL = 2.0  # seconds between plain progress lines


class Lines:
    """Plain lines on stderr."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._next_progress = time.monotonic() + _PROGRESS_INTERVAL

    def show(self, line: bytes, event: Event, history: History) -> None:
        text = sentence(event, history, self._steps)
        if text:
            self.say(text)
        elif event["kind"] in ("steps", "phase") and time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + _PROGRESS_INTERVAL
            self.say(progress(history, self._steps) if event["kind"] == "steps" else f"     {phase(event)}")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class Bar:
    """A progress bar on a terminal, with the same lines above it."""

    def __init__(self, steps: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._steps = steps
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console(sys.stderr),
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("starting", total=steps, figures="")
        self._progress.start()

    def show(self, line: bytes, event: Event, history: History) -> None:
        text = sentence(event, history, self._steps)
        if text:
            self.say(text)
        kind = event["kind"]
        if kind == "phase":
            self._progress.update(self._task, description=visible_line(phase(event)))
        elif kind in ("steps", "eval"):
            self._progress.update(
                self._task,
                description=step_of(history.step, self._steps),
                completed=history.share_done(self._steps) * self._steps,
                figures=figures(history, self._steps),
            )

    def say(self, text: str) -> None:
        self._progress.console.print(visible(text))

    def close(self) -> None:
        self._progress.stop()


def sentence(event: Event, history: History, steps: int) -> str:
    """What a person wants to read of an event; nothing for the frequent kinds."""
    kind = event["kind"]
    if kind == "eval":
        best = "  best so far" if event["best"] and event["step"] else ""
        floor = f"  (floor {fixed(event['floor_bpb'], 3)})" if event["floor_bpb"] else ""
        loss, bpb = fixed(event["loss"]), fixed(event["bpb"])
        return f"{step_of(event['step'], steps)}  val {loss} nats  {bpb} bpb{floor}{best}"
    if kind == "sample":
        return f"     it says  {' / '.join((event['prompt'] + event['text']).splitlines())}"
    if kind == "guard":
        return f"     GUARD    {event['rule']} at step {event['step']:,} ({event['action']}): {event['hint']}"
    if kind == "resumed":
        return f"     continuing from step {event['from_step']:,} ({event['reason']})"
    if kind == "control":
        return f"     {event['verb']}: {event['outcome']}"
    if kind == "note":
        return f"     note     {event['message']}"
    if kind == "engine":
        return "\n".join(f"     {c['setting']}: {c['value']} ({c['why']})" for c in event["choices"])
    if kind == "phase" and event["done"] is None and event["phase"] != "train":
        return f"     {event['phase']} ..."
    return ""


def phase(event: Event) -> str:
    if event["done"] is None:
        return str(event["phase"])
    share = f" of {event['total']:,}" if event["total"] else ""
    return f"{event['phase']}: {event.get('activity', '')} {event['done']:,}{share} characters"


def progress(history: History, steps: int) -> str:
    return f"{step_of(history.step, steps)}  {figures(history, steps)}"


def figures(history: History, steps: int, state: str = "running") -> str:
    """Format loss, bits per byte, throughput, and the time left of a running run or the time taken by an ended one."""
    parts = []
    if history.last_loss is not None:
        parts.append(f"loss {fixed(history.last_loss)}")
    if history.evals:
        parts.append(f"bpb {fixed(history.evals[-1]['bpb'])}")
    is_running = state == "running" and not history.paused
    speed = history.tokens_per_second() if is_running else history.mean_tokens_per_second()
    if speed:
        parts.append(f"{speed:,.0f} tok/s")
        if is_running and (mfu := history.mfu()):
            parts.append(f"mfu {100 * mfu:.1f} %")
    if is_running and (left := history.seconds_left(steps)) is not None:
        parts.append(f"eta {format_duration(left)}")
    elif history.step:
        parts.append(f"time {format_duration(history.last_t)}")
    return "  ".join(parts)


# --- numbers ------------------------------------------------------------------------------------------


def step_of(step: int, steps: int) -> str:
    """Format a step and the last one, with the same width at every step."""
    return f"step {share_of(step, steps)}"


def share_of(step: int, steps: int) -> str:
    total = f"{steps:,}"
    return f"{step:>{len(total)},}/{total}"


def fixed(value: float | None, digits: int = 4) -> str:
    """Format a loss or score: `nan` for null, as JSON has no NaN, and few digits however large it is."""
    if value is None:
        return "nan"
    return f"{value:.{digits}f}" if abs(value) < _WIDE else f"{value:.3g}"


def result_line(config: dict[str, Any], summary: dict[str, Any]) -> str:
    """The ancestor's line of key=value pairs, with ours behind it."""
    settings = config["resolved"]
    pairs = {
        **{key: settings[key] for key in ("mode", "model_kind", "style", "tie_lm_head", "input_rmsnorm")},
        "params": summary["parameters"],
        "steps": summary["steps"],
        "final_loss": _six(summary["final_loss"]),
        "val_loss": _six(summary["val_loss"]),
        f"mean_loss_last_{summary['last_n']}": _six(summary["mean_loss_last_n"]),
        "steps_per_sec": f"{summary['steps_per_second']:.2f}",
        "tokens_per_sec": f"{summary['tokens_per_second']:.2f}",
        "vocab_size": summary["vocab_size"],
        "train_tokens": summary["train_tokens"],
        "val_bpb": _six(summary["val_bpb"]),
        "best_bpb": _six(summary["best_bpb"]),
        "best_step": summary["best_step"],
        "seconds": f"{summary['train_seconds']:.3f}",
        "state": summary["reason"],
        "run": config["run"],
    }
    return " ".join(f"{key}={_word(value)}" for key, value in pairs.items())


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _six(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.6f}" if abs(value) < _WIDE else f"{value:.6e}"
