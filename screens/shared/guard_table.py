"""The guards of a run that have tripped, as a table of text."""

from rich.text import Text

from engines.events import Event
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_guard_glyph
from screens.widgets.wrapping import shown


def render_guards(watch: WatchedRun, ascii: bool) -> Text:
    """Return two lines per rule and action: first and last step, count, value, threshold, action; and a hint."""
    trips: dict[tuple[str, str], list[Event]] = {}
    for event in watch.history.guards:
        trips.setdefault((event["rule"], event["action"]), []).append(event)
    if not trips:
        return Text("no guard has tripped", "dim")
    text = Text(
        f"{'':2}{'rule':<12}{'first':>9}{'last':>9}{'times':>6}  {'value':>11} {'threshold':>11}  action\n", "dim"
    )
    for (rule, action), events in trips.items():
        last = events[-1]
        text.append(
            f"{format_guard_glyph(action, ascii)} {rule:<12}{events[0]['step']:>9,}{last['step']:>9,}{len(events):>6}  "
            f"{_format_value(last['value'], ascii):>11} {_format_value(last['threshold'], ascii):>11}  {action}\n"
        )
        text.append(shown(f"  {last['hint']}\n"), "dim")
    return text


def _format_value(value: float | None, ascii: bool) -> str:
    return ("-" if ascii else "–") if value is None else f"{value:,.4g}"
