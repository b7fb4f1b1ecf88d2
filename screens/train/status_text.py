"""The status of a run in text: the phases of its start, a banner when it is not running, and a summary."""

import itertools
import time

from rich.text import Text

from engines.events import Event
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_decimal, format_guard_glyph, format_state
from screens.widgets.wrapping import shown

_PHASES = ("import", "data", "model", "compile", "train")
_RESUME = "Press r to resume from the last checkpoint"
_HINTS = {  # what to do in a state
    "paused": "Press p to resume",
    "stuck": "No heartbeat for 10 s. Press l to show the log",
    "killed": f"The worker exited unexpectedly (out of memory?). {_RESUME}, l to show the log",
    "finished": "Press 3 to generate samples",
}


def render_phases(watch: WatchedRun, ascii: bool) -> Text:
    """Return the phases of the start: those that are done with their time, the current one, and those to come."""
    done, current, pending = ("+", "*", "o") if ascii else ("✔", "●", "○")
    text = Text()
    phases = watch.history.phases
    for event, following in itertools.zip_longest(phases, phases[1:]):
        seconds = max(0.0, (following["t"] if following else _now(watch)) - event["t"])
        if following:
            text.append(f"{done} {event['phase']} {seconds:.1f} s  ")
        else:
            text.append(f"{current} {event['phase']} {seconds:.1f} s{_format_activity(event)}  ", "bold")
    text.append("  ".join(f"{pending} {name}" for name in _pending_phases(watch)), "dim")
    return text


def _pending_phases(watch: WatchedRun) -> list[str]:
    known = {event["phase"] for event in watch.history.phases}
    if watch.settings.get("mode") == "scalar":
        known.add("compile")
    return [name for name in _PHASES if name not in known]


def _format_activity(event: Event) -> str:
    if not event.get("activity"):
        return ""
    total = f" of {event['total']:,}" if event["total"] else ""
    return f" ({event['activity']} {event['done'] or 0:,}{total} characters)"


def _now(watch: WatchedRun) -> float:
    """Return the seconds since the first start of the run, as its events count them."""
    if not watch.is_live:
        return watch.history.last_t
    parent = watch.part("parent").get("seconds") or 0.0
    return time.time() - float(watch.config.get("created_at", time.time())) + float(parent)


def render_banner(watch: WatchedRun, ascii: bool) -> Text:
    """Return why a run is not running and which key to press; empty while it starts or runs."""
    if watch.problem:
        keys = "  Press n for a new run, 2 for all runs" if watch.is_deleted else ""
        return Text(shown(f"{watch.run.id}: {watch.problem}{keys}"), "bold")
    if watch.state in ("running", "starting"):
        return Text()
    state, hint = format_state(watch, ascii), _HINTS.get(watch.state, _RESUME)
    if watch.state in ("paused", "stuck", "killed"):
        return Text(f"{state}  {hint}", "bold")
    step = "" if watch.state == "finished" else f" at step {watch.history.step:,}"
    ending = watch.ending
    detail = shown(f": {ending['detail']}") if ending and ending["detail"] else ""
    return Text(f"{state}{step}{detail}  {hint}", "bold")


def render_summary(watch: WatchedRun, ascii: bool) -> Text:
    """Return the figures of the panel that matter most, in two lines for narrow terminals."""
    history = watch.history
    steps = int(watch.settings.get("steps", 0))
    figures = [f"loss {format_decimal(history.last_loss)}"]
    if best := history.best_eval:
        figures.append(f"best {format_decimal(best['bpb'])} bpb")
    if speed := history.tokens_per_second():
        figures.append(f"{speed:,.0f} tok/s")
    if history.guards:
        figures.append(f"{format_guard_glyph('warn', ascii)} {len(history.guards)}")
    first = f"{watch.run.id} {format_state(watch, ascii)}  {history.step:,}/{steps:,}"
    return Text(f"{first}\n{'  '.join(figures)}")
