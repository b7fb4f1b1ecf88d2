"""A chart alone in an app, and data for it."""

import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any

from textual.app import App, ComposeResult
from textual.pilot import Pilot

from screens.chart import Chart, XAxis

RUN_AXES = (XAxis("tokens"), XAxis("time", is_time=True))


class ChartApp(App[None]):
    """A chart in a border, and the toasts that were shown."""

    CSS = "Chart { border: round gray; }"

    def __init__(self, ascii: bool = False) -> None:
        super().__init__()
        self.toasts: list[str] = []
        self.chart = Chart(RUN_AXES, "no losses yet", id="chart", ascii=ascii)

    def compose(self) -> ComposeResult:
        yield self.chart

    def on_mount(self) -> None:
        self.chart.focus()

    def notify(self, message: str, **_: Any) -> None:  # type: ignore[override]
        self.toasts.append(message)


@contextlib.asynccontextmanager
async def open_chart(size: tuple[int, int] = (80, 24), ascii: bool = False) -> AsyncIterator[tuple[Pilot[None], Chart]]:
    app = ChartApp(ascii)
    async with app.run_test(size=size) as pilot:
        yield pilot, app.chart


def draw(chart: Chart) -> str:
    """Draw the data now, without waiting for the next frame."""
    chart.redraw()
    return chart.text


def losses(count: int) -> list[float]:
    return [2 + math.exp(-step / 200) + 0.1 * math.sin(step) for step in range(count)]


def fill(chart: Chart, count: int = 1_000) -> None:
    """Add a line, dots, a level and values of all axes."""
    chart.data.add_line("loss", "training")
    chart.data.add_dots("val", "validation")
    chart.data.add_level("guessing", "ln 29", math.log(29))
    chart.data.extend_line("loss", 1, losses(count))
    chart.data.add_dot("val", count // 2, 2.5)
    chart.data.set_axis_values("time", 1, (0.25 * step for step in range(1, count + 1)))
    chart.data.set_axis_values("tokens", 1, (512.0 * step for step in range(1, count + 1)))
    draw(chart)


def state(chart: Chart) -> str:
    return str(chart.border_subtitle)
