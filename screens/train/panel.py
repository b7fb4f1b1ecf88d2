"""The side panel of a run: its state, progress and measurements."""

from collections.abc import Iterator
from typing import NamedTuple

from rich.text import Text

from engines.events import Event
from engines.output.terminal_text import replace_symbols
from engines.output.units import NOT_KNOWN, format_bytes, format_clock
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_bar, format_decimal, format_sparkline, format_state
from screens.widgets.lines import Lines

_LABEL_WIDTH = 8  # cells
_BAR_WIDTH = 24
_SPEED_PARTS = 24  # bars of the sparkline
_STEPS_PER_PART = 20


class RunPanel(Lines):
    """Shows one measurement per line; only lines that change are painted."""

    def __init__(self, ascii: bool, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._ascii = ascii

    def show_run(self, watch: WatchedRun) -> None:
        """Render the lines again and repaint those that differ."""
        self.show(render_panel(watch, self._ascii))


def render_panel(watch: WatchedRun, ascii: bool) -> list[Text]:
    """Return the lines of the panel."""
    return [_render_row(row, ascii) for row in _panel_rows(watch, ascii)]


class PanelRow(NamedTuple):
    """A line of the panel. With an empty label its value continues the row above; without one it begins at the edge."""

    label: str | None
    value: str
    style: str = ""


def _render_row(row: PanelRow, ascii: bool) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if row.label is not None:
        text.append(f"{row.label:<{_LABEL_WIDTH}}", "dim")
    return text.append(replace_symbols(row.value, ascii), row.style)


def _panel_rows(watch: WatchedRun, ascii: bool) -> Iterator[PanelRow]:
    yield from _run_rows(watch, ascii)
    yield from _progress_rows(watch, ascii)
    yield from _speed_rows(watch, ascii)
    yield from _optimization_rows(watch)
    yield from _machine_rows(watch.history.system)


def _run_rows(watch: WatchedRun, ascii: bool) -> Iterator[PanelRow]:
    settings, facts = watch.settings, watch.config.get("facts", {})
    yield PanelRow("Run", watch.run.id, "bold")
    yield PanelRow("State", format_state(watch, ascii), "bold")
    yield PanelRow("Model", f"{settings.get('mode', '?')} {settings.get('model_kind', '?')}")
    if facts:
        yield PanelRow("Params", f"{facts.get('parameters', 0):,}  vocab {facts.get('vocab_size', 0):,}")


def _progress_rows(watch: WatchedRun, ascii: bool) -> Iterator[PanelRow]:
    history = watch.history
    steps = int(watch.settings.get("steps", 0))
    share = history.fraction_done(steps)
    yield PanelRow("Step", f"{history.step:,} / {steps:,}")
    yield PanelRow(None, f"{format_bar(share, _BAR_WIDTH, ascii)} {100 * share:.1f} %")
    if watch.is_live:
        yield PanelRow("ETA", format_clock(history.estimate_seconds_left(steps) if watch.state == "running" else None))
    else:
        yield PanelRow("Time", format_clock(history.last_t))
    yield PanelRow("Loss", format_decimal(history.last_loss))
    best = history.best_eval
    yield PanelRow("Best", f"{format_decimal(best['bpb'])} bpb @ {best['step']:,}" if best else NOT_KNOWN)


def _speed_rows(watch: WatchedRun, ascii: bool) -> Iterator[PanelRow]:
    history = watch.history
    if watch.state == "running":
        speed = history.tokens_per_second()
    else:
        speed = 0.0 if watch.is_live else history.mean_tokens_per_second()
    yield PanelRow("tok/s", f"{speed:,.0f}" if speed else NOT_KNOWN)
    if sparkline := format_sparkline(_recent_speeds(watch), ascii):
        yield PanelRow("", sparkline)
    yield PanelRow("ms/step", format_decimal(1e3 * history.seconds[-1] if history.seconds else None, 3))
    mfu = history.mfu()
    yield PanelRow("MFU", f"{100 * mfu:.1f} %" if mfu else NOT_KNOWN)


def _recent_speeds(watch: WatchedRun) -> list[float]:
    """Return steps per second over equal parts of the latest steps."""
    seconds = watch.history.seconds[-_SPEED_PARTS * _STEPS_PER_PART :]
    size = max(1, len(seconds) // _SPEED_PARTS)
    parts = [seconds[start : start + size] for start in range(0, len(seconds) - size + 1, size)]
    return [len(part) / total for part in parts[-_SPEED_PARTS:] if (total := sum(part)) > 0]


def _optimization_rows(watch: WatchedRun) -> Iterator[PanelRow]:
    history = watch.history
    yield PanelRow("LR", f"{history.lr[-1]:.3g}" if history.lr else NOT_KNOWN)
    yield PanelRow("Gnorm", format_decimal(history.grad_norms[-1] if history.grad_norms else None, 3))
    newest = history.checkpoints[-1] if history.checkpoints else None
    yield PanelRow("Ckpt", f"step {newest['step']:,}  {format_bytes(newest['bytes'])}" if newest else NOT_KNOWN)


def _machine_rows(system: Event | None) -> Iterator[PanelRow]:
    if not system:
        return
    cpu, rss = system["cpu_percent"], system["rss_bytes"]
    memory = NOT_KNOWN if rss is None else format_bytes(rss)
    yield PanelRow("Host", f"cpu {_format_measure(cpu, ' %')}  rss {memory}")
    for gpu in system.get("gpus", []):
        used = _format_ratio(gpu["memory_used_bytes"], gpu["memory_total_bytes"], 2**30)
        yield PanelRow("GPU", f"{_format_measure(gpu['utilisation_percent'], ' %')}  {used} GiB")
        celsius = gpu["temperature_celsius"]
        temperature = "" if celsius is None else f"  {celsius} °C"
        yield PanelRow("", f"{_format_ratio(gpu['power_watts'], gpu['power_limit_watts'], 1)} W{temperature}")


def _format_measure(value: float | None, unit: str) -> str:
    return NOT_KNOWN if value is None else f"{value:.0f}{unit}"


def _format_ratio(part: float | None, whole: float | None, unit: int) -> str:
    """Return `part/whole` in a unit; the driver may report neither."""
    return "/".join(NOT_KNOWN if value is None else f"{value / unit:.0f}" for value in (part, whole))
