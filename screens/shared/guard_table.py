"""The guard alerts of a run as a table of text."""

from rich.text import Text

from engines.events import Event
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_guard_glyph
from screens.widgets.wrapping import shown


def render_guards(watch: WatchedRun, ascii: bool) -> Text:
    """Return two lines per rule and action: first and last step, count, last value and threshold; and a hint."""
    alerts: dict[tuple[str, str], list[Event]] = {}
    for event in watch.history.guards:
        alerts.setdefault((event["rule"], event["action"]), []).append(event)
    if not alerts:
        return Text("No guard alerts", "dim")
    text = Text(
        f"{'':2}{'Rule':<12}{'First':>9}{'Last':>9}{'Count':>7}  {'Value':>11} {'Threshold':>11}  Action\n", "dim"
    )
    for (rule, action), events in alerts.items():
        last = events[-1]
        text.append(
            f"{format_guard_glyph(action, ascii)} {rule:<12}{events[0]['step']:>9,}{last['step']:>9,}{len(events):>7}  "
            f"{_format_value(last['value'], ascii):>11} {_format_value(last['threshold'], ascii):>11}  {action}\n"
        )
        text.append(shown(f"  {last['hint']}\n"), "dim")
    return text


def _format_value(value: float | None, ascii: bool) -> str:
    return ("-" if ascii else "–") if value is None else f"{value:,.4g}"
