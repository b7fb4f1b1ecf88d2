"""The text of the tabs below the chart: samples, events and the worker's log."""

from rich.text import Text

from engines.events import Event
from engines.output.units import format_bytes, format_clock
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_decimal
from screens.widgets.wrapping import shown

_MAX_SAMPLES = 20
_MAX_EVENTS = 200


def render_samples(watch: WatchedRun) -> Text:
    """Return the samples that were generated during training, newest first."""
    if not watch.history.samples:
        return Text("No samples yet", "dim")
    text = Text()
    for event in reversed(watch.history.samples[-_MAX_SAMPLES:]):
        text.append(f"Step {event['step']:,}\n", "dim")
        text.append(shown(event["prompt"]), "underline").append(shown(f"{event['text']}\n\n"))
    return text


def render_log(watch: WatchedRun) -> Text:
    """Return the end of the worker's output."""
    tail = watch.log_tail.decode(errors="replace").strip()
    return Text(shown(tail) or "No output from the worker", "" if tail else "dim")


def render_events(watch: WatchedRun) -> Text:
    """Return one line per event of the run except its steps and samples, newest first."""
    history = watch.history
    events = [*history.runs, *history.notes, *history.evals, *history.guards, *history.checkpoints]
    events += [event for event in (history.engine, history.ended) if event]
    newest = sorted(events, key=lambda event: float(event["t"]), reverse=True)[:_MAX_EVENTS]
    return Text("\n".join(shown(f"{format_clock(event['t'])}  {_describe(event)}") for event in newest))


def _describe(event: Event) -> str:
    kind = event["kind"]
    if kind == "eval":
        best = ", best so far" if event["best"] else ""
        loss, bpb = format_decimal(event["loss"]), format_decimal(event["bpb"])
        return f"Step {event['step']:,}: validation loss {loss} nats per token, {bpb} bpb{best}"
    if kind == "checkpoint":
        return f"Step {event['step']:,}: checkpoint of {format_bytes(event['bytes'])}, {event['seconds']:.2f} s"
    if kind == "guard":
        return f"Step {event['step']:,}: guard {event['rule']} ({event['action']}): {event['hint']}"
    if kind == "run":
        count = "" if event["start"] == 1 else f", start {event['start']}"
        return f"Worker started: process {event['pid']} on {event['host']}{count}"
    if kind == "note":
        return f"Note: {event['message']}"
    if kind == "engine":
        return ", ".join(f"{decision['setting']} {decision['value']}" for decision in event["choices"])
    detail = f": {event['detail']}" if event["detail"] else ""
    return f"{event['reason'].capitalize()} at step {event['step']:,}{detail}"
