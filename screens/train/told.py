"""What a run tells in words: its phases, its end, its guards, its samples, its log."""

import time

from rich.text import Text

from engines.events import Event
from engines.output.units import format_bytes, format_clock
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_decimal, format_state
from screens.widgets.wrapping import shown

_PHASES = ("import", "data", "model", "compile", "train")
_SAMPLES = 20
_NEWS = 200


def phases(watch: WatchedRun, ascii: bool) -> Text:
    """Each phase of the start with its time, ticked off when it is over."""
    done, now, to_come = ("+", "*", "o") if ascii else ("✔", "●", "○")
    text = Text()
    seen = watch.history.phases
    names = [event["phase"] for event in seen]
    for place, event in enumerate(seen):
        over = place + 1 < len(seen)
        until = seen[place + 1]["t"] if over else _now(watch)
        activity = "" if over or not event.get("activity") else f" {_progress(event)}"
        seconds = max(0.0, until - event["t"])
        text.append(f"{done if over else now} {event['phase']} {seconds:.1f} s{activity}  ", "" if over else "bold")
    expected = [name for name in _PHASES if name not in names and not (name == "compile" and _is_scalar(watch))]
    text.append("  ".join(f"{to_come} {name}" for name in expected), "dim")
    return text


def banner(watch: WatchedRun, ascii: bool) -> Text:
    """How a run ended or what is wrong with it, and what to do; empty while all is well."""
    again = "r goes on from the last checkpoint"
    if watch.problem:
        more = "" if not watch.is_deleted else "  press n for a new run, 2 for all runs"
        return Text(shown(f"{watch.run.id}: {watch.problem}{more}"), "bold")
    if watch.state in ("running", "starting"):
        return Text()
    words = format_state(watch, ascii)
    ended = watch.ending
    detail = shown(f": {ended['detail']}") if ended and ended["detail"] else ""
    if watch.state == "paused":
        return Text(f"{words}  p goes on", "bold")
    if watch.state == "stuck":
        return Text(f"{words}  its worker lives but has said nothing for 10 s; l shows its log", "bold")
    if watch.state == "killed":
        return Text(f"{words}  its worker died without a last word (out of memory?); {again}, l shows its log", "bold")
    if watch.state == "finished":
        return Text(f"{words}{detail}  3 lets it speak", "bold")
    return Text(f"{words} at step {watch.history.step:,}{detail}  {again}", "bold")


def samples(watch: WatchedRun) -> Text:
    """What the model says, the newest first."""
    if not watch.history.samples:
        return Text("it has not spoken yet", "dim")
    text = Text()
    for event in reversed(watch.history.samples[-_SAMPLES:]):
        text.append(f"step {event['step']:,}\n", "dim")
        text.append(shown(event["prompt"]), "underline").append(shown(f"{event['text']}\n\n"))
    return text


def log_tail(watch: WatchedRun) -> Text:
    """What the worker printed last."""
    tail = watch.log_tail.decode(errors="replace").strip()
    return Text(shown(tail) or "the worker has printed nothing", "" if tail else "dim")


def news(watch: WatchedRun) -> Text:
    """What has happened, the newest first."""
    history = watch.history
    told = [*history.runs, *history.notes, *history.evals, *history.guards, *history.checkpoints]
    told += [event for event in (history.engine, history.ended) if event]
    newest = sorted(told, key=lambda event: float(event["t"]), reverse=True)[:_NEWS]
    return Text("\n".join(shown(f"{format_clock(event['t'])}  {_sentence(event)}") for event in newest))


def _sentence(event: Event) -> str:
    kind = event["kind"]
    if kind == "eval":
        best = ", the best so far" if event["best"] else ""
        loss, bpb = format_decimal(event["loss"]), format_decimal(event["bpb"])
        return f"step {event['step']:,}: validation {loss} nats, {bpb} bpb{best}"
    if kind == "checkpoint":
        return f"step {event['step']:,}: checkpoint, {format_bytes(event['bytes'])} in {event['seconds']:.2f} s"
    if kind == "guard":
        return f"step {event['step']:,}: guard {event['rule']} ({event['action']}): {event['hint']}"
    if kind == "run":
        again = "" if event["start"] == 1 else f", start {event['start']}"
        return f"worker {event['pid']} on {event['host']}{again}"
    if kind == "note":
        return f"note: {event['message']}"
    if kind == "engine":
        return ", ".join(f"{choice['setting']} {choice['value']}" for choice in event["choices"])
    return f"{event['reason']} at step {event['step']:,}{': ' + event['detail'] if event['detail'] else ''}"


def _progress(event: Event) -> str:
    share = f" of {event['total']:,}" if event["total"] else ""
    return f"({event['activity']} {event['done'] or 0:,}{share} characters)"


def _is_scalar(watch: WatchedRun) -> bool:
    return watch.settings.get("mode") == "scalar"


def _now(watch: WatchedRun) -> float:
    """Seconds since the run's first start, as its events count them."""
    if not watch.is_live:
        return watch.history.last_t
    parent = watch.part("parent").get("seconds") or 0.0
    return time.time() - float(watch.config.get("created_at", time.time())) + float(parent)
