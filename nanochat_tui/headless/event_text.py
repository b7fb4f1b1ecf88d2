"""Format the events of a run as lines of text."""

from engines.events import Event
from engines.output.units import format_duration
from engines.runs.history import History
from nanochat_tui.headless.formatting import format_loss, format_step


def format_event(event: Event, history: History, steps: int) -> str:
    """Return the text of an event; an empty string for the frequent kinds, which the progress line summarises."""
    match event["kind"]:
        case "eval":
            return _format_eval(event, steps)
        case "sample":
            return f"     sample:  {' / '.join((event['prompt'] + event['text']).splitlines())}"
        case "guard":
            return f"     guard:   {event['rule']} at step {event['step']:,} ({event['action']}): {event['hint']}"
        case "resumed":
            return f"     resumed from step {event['from_step']:,} ({event['reason']})"
        case "control":
            return f"     {event['verb']}: {event['outcome']}"
        case "note":
            return f"     note:    {event['message']}"
        case "engine":
            return "\n".join(f"     {each['setting']}: {each['value']} ({each['why']})" for each in event["choices"])
        case "phase" if event["done"] is None and event["phase"] != "train":
            return f"     {event['phase']} ..."
    return ""


def _format_eval(event: Event, steps: int) -> str:
    best = "  best so far" if event["best"] and event["step"] else ""
    bound = f"  (entropy bound {format_loss(event['floor_bpb'], 3)})" if event["floor_bpb"] else ""
    loss, bpb = format_loss(event["loss"]), format_loss(event["bpb"])
    return f"{format_step(event['step'], steps)}  val {loss} nats/token  {bpb} bpb{bound}{best}"


def format_phase(event: Event) -> str:
    """Return the name of a phase, with the number of characters that were processed if that is known."""
    if event["done"] is None:
        return str(event["phase"])
    total = f" of {event['total']:,}" if event["total"] else ""
    return f"{event['phase']}: {event.get('activity', '')} {event['done']:,}{total} characters"


def format_progress(history: History, steps: int) -> str:
    """Return the progress line of a run: its step and its metrics."""
    return f"{format_step(history.step, steps)}  {format_metrics(history, steps)}"


def format_metrics(history: History, steps: int, state: str = "running") -> str:
    """Return loss, bits per byte and throughput; then the ETA of a running run, or the training time of another."""
    parts = []
    if history.last_loss is not None:
        parts.append(f"loss {format_loss(history.last_loss)}")
    if history.evals:
        parts.append(f"bpb {format_loss(history.evals[-1]['bpb'])}")
    is_running = state == "running" and not history.paused
    speed = history.tokens_per_second() if is_running else history.mean_tokens_per_second()
    if speed:
        parts.append(f"{speed:,.0f} tok/s")
        if is_running and (mfu := history.mfu()):
            parts.append(f"MFU {100 * mfu:.1f} %")
    if is_running and (seconds := history.estimate_seconds_left(steps)) is not None:
        parts.append(f"ETA {format_duration(seconds)}")
    elif history.step:
        parts.append(f"time {format_duration(history.last_t)}")
    return "  ".join(parts)
