"""The legend: each series with its newest value, or with its value under the crosshair."""

from collections.abc import Iterator

from screens.chart.canvas import Ink
from screens.chart.look import DASHES, Look
from screens.chart.plot import Plot
from screens.chart.raster import BRAILLE, Raster
from screens.chart.scales import clock, exact
from screens.chart.series import Line

_VALUE_CELLS = 7  # of a value: what follows it stays where it is


def legend_rows(plot: Plot, look: Look, width: int, height: int, monochrome: bool) -> list[list[tuple[int, str, Ink]]]:
    """Rows of (cell, text, ink), none where there is one series only and no crosshair, or no room."""
    most = max(1, height // 6)
    wanted = plot.cross is not None or len(plot.lines) + len(plot.dots) + len(plot.levels) > 1
    if not wanted or height < 5 or width < 12:
        return []
    rows: list[list[tuple[int, str, Ink]]] = [[]]
    x = 0
    items = list(_items(plot, look, monochrome))
    for place, parts in enumerate(items):
        needed = sum(len(text) for text, _ in parts)
        if x and x + needed > width:
            if len(rows) == most:
                more = f"+{len(items) - place} more"
                rows[-1].append((min(x, width - len(more)), more, Ink("legend")))
                break
            rows.append([])
            x = 0
        for text, ink in parts:
            rows[-1].append((x, text, ink))
            x += len(text)
        x += 2
    return rows


def _items(plot: Plot, look: Look, monochrome: bool) -> Iterator[list[tuple[str, Ink]]]:
    if plot.cross is not None:
        yield [(_where(plot), Ink("legend"))]
    for number, line in enumerate(plot.lines.values()):
        sample = look.lines[number % len(look.lines)] * 2 if look.lines else _dashes(number) if monochrome else "──"
        step = line.last if plot.cross is None else plot.step_at(line.group, plot.cross)
        yield [
            (f"{sample} ", Ink("line", line.colour)),
            (f"{line.label} ", Ink("legend")),
            *_line_value(plot, line, step),
        ]
    for number, dots in enumerate(plot.dots.values()):
        last = dots.steps[-1] if dots.steps else None
        step = last if plot.cross is None else plot.step_at(dots.group, plot.cross)
        value = None if step is None else dots.value(step)
        text = f"{dots.label} {_padded(value)}"
        yield [(f"{look.dots[number % len(look.dots)]} ", Ink("line", dots.colour)), (text, Ink("legend"))]
    for level in plot.levels.values():
        yield [(f"{look.level * 2} ", Ink("level")), (f"{level.label} {_padded(level.value)}", Ink("legend"))]


def _dashes(number: int) -> str:
    """A piece of the line as it is drawn without colours."""
    on, off = DASHES[number % len(DASHES)]
    raster = Raster(BRAILLE, 4, 1)
    for x in range(raster.width):
        if x % (on + off) < on:
            raster.dot(x, 1)
    cells = {column: glyph for column, _, glyph in raster.glyphs()}
    return "".join(cells.get(column, " ") for column in range(raster.columns))


def _line_value(plot: Plot, line: Line, step: int | None) -> list[tuple[str, Ink]]:
    value = None if step is None else line.value(step)
    parts = [(_padded(value), Ink("value"))]
    if plot.smoothing and line.smoothed:
        smoothed = None if value is None or step is None else line.smoothed_value(step, plot.smoothing)
        parts.append((f"~{_padded(smoothed)}", Ink("legend")))
    return parts


def _padded(value: float | None) -> str:
    return ("" if value is None else exact(value)).ljust(_VALUE_CELLS)


def _where(plot: Plot) -> str:
    step = f"step {plot.cross_step():,}"
    if plot.axis == "time":
        step += f" at {clock(plot.cross or 0.0)}"
    elif plot.axis == "tokens":
        step += f" at {plot.cross or 0.0:,.0f} tokens"
    return step.ljust(16)
