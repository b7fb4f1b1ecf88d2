"""The side panel of a run: how it stands, in figures."""

from collections.abc import Callable

from rich.text import Text

from engines.output.terminal_text import replace_symbols
from engines.output.units import format_bytes, format_clock
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_bar, format_decimal, format_sparkline, format_state
from screens.widgets.lines import Lines

_BAR = 24
_SPEED_WINDOW = 24  # readings of the sparkline


class RunPanel(Lines):
    """State, step, progress, throughput, rates, checkpoint, machine."""

    def __init__(self, ascii: bool, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._ascii = ascii

    def tell(self, watch: WatchedRun) -> None:
        self.show(list(_lines(watch, self._ascii).split("\n")))


def _lines(watch: WatchedRun, ascii: bool) -> Text:
    history, settings = watch.history, watch.settings
    steps = int(settings.get("steps", 0))
    text = Text(no_wrap=True, overflow="ellipsis")

    def row(name: str, value: str, style: str = "") -> None:
        text.append(f"{name:<8}", "dim")
        text.append(f"{replace_symbols(value, ascii)}\n", style)

    row("run", watch.run.id, "bold")
    row("state", format_state(watch, ascii), "bold")
    row("model", f"{settings.get('mode', '?')} {settings.get('model_kind', '?')}")
    facts = watch.config.get("facts", {})
    if facts:
        row("params", f"{facts.get('parameters', 0):,}  vocab {facts.get('vocab_size', 0):,}")
    share = history.fraction_done(steps)
    row("step", f"{history.step:,} / {steps:,}")
    text.append(f"{format_bar(share, _BAR, ascii)} {100 * share:.1f} %\n")
    is_running = watch.state == "running"
    speed = history.tokens_per_second() if is_running else 0.0 if watch.is_live else history.mean_tokens_per_second()
    if watch.is_live:
        row("eta", format_clock(history.estimate_seconds_left(steps) if is_running else None))
    else:
        row("time", format_clock(history.last_t))
    row("loss", format_decimal(history.last_loss))
    best = history.best_eval
    row("best", f"{format_decimal(best['bpb'])} bpb @ {best['step']:,}" if best else "–")
    row("tok/s", f"{speed:,.0f}" if speed else "–")
    if trend := format_sparkline(_speeds(watch), ascii):
        row("", trend)
    row("ms/step", format_decimal(1e3 * history.seconds[-1] if history.seconds else None, 3))
    mfu = history.mfu()
    row("mfu", f"{100 * mfu:.1f} %" if mfu else "–")
    row("lr", f"{history.lr[-1]:.3g}" if history.lr else "–")
    row("gnorm", format_decimal(history.grad_norms[-1] if history.grad_norms else None, 3))
    row("ckpt", _checkpoint(watch))
    _machine(watch, row)
    return text


def _machine(watch: WatchedRun, add: Callable[[str, str], None]) -> None:
    system = watch.history.system
    if not system:
        return
    cpu, rss = system["cpu_percent"], system["rss_bytes"]
    add("host", f"cpu {'–' if cpu is None else f'{cpu:.0f} %'}  rss {'–' if rss is None else format_bytes(rss)}")
    for gpu in system.get("gpus", []):
        busy = "–" if gpu["utilisation_percent"] is None else f"{gpu['utilisation_percent']:.0f} %"
        add("gpu", f"{busy}  {_of(gpu['memory_used_bytes'], gpu['memory_total_bytes'], 2**30)} GiB")
        heat = "" if gpu["temperature_celsius"] is None else f"  {gpu['temperature_celsius']} °C"
        add("", f"{_of(gpu['power_watts'], gpu['power_limit_watts'], 1)} W{heat}")


def _of(part: float | None, whole: float | None, unit: int) -> str:
    """`part/whole`, as far as the driver tells."""
    return "/".join("–" if value is None else f"{value / unit:.0f}" for value in (part, whole))


def _speeds(watch: WatchedRun) -> list[float]:
    """Steps a second in equal parts of the recent past."""
    recent = watch.history.seconds[-_SPEED_WINDOW * 20 :]
    size = max(1, len(recent) // _SPEED_WINDOW)
    parts = [recent[i : i + size] for i in range(0, len(recent) - size + 1, size)]
    return [len(part) / total for part in parts[-_SPEED_WINDOW:] if (total := sum(part)) > 0]


def _checkpoint(watch: WatchedRun) -> str:
    kept = watch.history.checkpoints
    if not kept:
        return "–"
    return f"step {kept[-1]['step']:,}  {format_bytes(kept[-1]['bytes'])}"
