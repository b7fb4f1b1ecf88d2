"""The legend: each series with its newest value, or with its value under the crosshair."""

from collections.abc import Iterator

from screens.chart.canvas import StyleKey
from screens.chart.glyphs import DASHES, GlyphSet
from screens.chart.model import ChartModel
from screens.chart.raster import BRAILLE, Raster
from screens.chart.scales import format_time, format_value
from screens.chart.series import STEP, LineSeries

_VALUE_CELLS = 7  # fixed width of a value, so that what follows it does not move

LegendRow = list[tuple[int, str, StyleKey]]  # first cell, text, style


def layout_legend(model: ChartModel, glyphs: GlyphSet, width: int, height: int, is_monochrome: bool) -> list[LegendRow]:
    """Return the rows of the legend; none without crosshair for a single series, or if there is no room."""
    max_rows = max(1, height // 6)
    data = model.data
    is_needed = model.cross is not None or len(data.lines) + len(data.dots) + len(data.levels) > 1
    if not is_needed or height < 5 or width < 12:
        return []
    rows: list[LegendRow] = [[]]
    x = 0
    items = list(_items(model, glyphs, is_monochrome))
    for place, parts in enumerate(items):
        cells = sum(len(text) for text, _ in parts)
        if x and x + cells > width:
            if len(rows) == max_rows:
                more = f"+{len(items) - place} more"
                rows[-1].append((min(x, width - len(more)), more, StyleKey("legend")))
                break
            rows.append([])
            x = 0
        for text, key in parts:
            rows[-1].append((x, text, key))
            x += len(text)
        x += 2
    return rows


def _items(model: ChartModel, glyphs: GlyphSet, is_monochrome: bool) -> Iterator[list[tuple[str, StyleKey]]]:
    if model.cross is not None:
        yield [(_format_cross(model), StyleKey("legend"))]
    for number, line in enumerate(model.data.lines.values()):
        step = line.last if model.cross is None else model.step_at(line.group, model.cross)
        yield [
            (f"{_line_sample(glyphs, number, is_monochrome)} ", StyleKey("line", line.colour)),
            (f"{line.label} ", StyleKey("legend")),
            *_format_line_value(model, line, step),
        ]
    for number, dots in enumerate(model.data.dots.values()):
        last = dots.steps[-1] if dots.steps else None
        step = last if model.cross is None else model.step_at(dots.group, model.cross)
        text = f"{dots.label} {_pad(None if step is None else dots.value(step))}"
        sample = f"{glyphs.dots[number % len(glyphs.dots)]} "
        yield [(sample, StyleKey("line", dots.colour)), (text, StyleKey("legend"))]
    for level in model.data.levels.values():
        text = f"{level.label} {_pad(level.value)}"
        yield [(f"{glyphs.level * 2} ", StyleKey("level")), (text, StyleKey("legend"))]


def _line_sample(glyphs: GlyphSet, number: int, is_monochrome: bool) -> str:
    if glyphs.lines:
        return glyphs.lines[number % len(glyphs.lines)] * 2
    return _draw_dashes(number) if is_monochrome else "──"


def _draw_dashes(number: int) -> str:
    """Draw a piece of the line as it is drawn without colours."""
    on, off = DASHES[number % len(DASHES)]
    raster = Raster(BRAILLE, 4, 1)
    for x in range(raster.width):
        if x % (on + off) < on:
            raster.set_pixel(x, 1)
    cells = {column: glyph for column, _, glyph in raster.glyphs()}
    return "".join(cells.get(column, " ") for column in range(raster.columns))


def _format_line_value(model: ChartModel, line: LineSeries, step: int | None) -> list[tuple[str, StyleKey]]:
    value = None if step is None else line.value(step)
    parts = [(_pad(value), StyleKey("value"))]
    if model.smoothing and line.smoothed:
        smoothed = None if value is None or step is None else line.smoothed_value(step, model.smoothing)
        parts.append((f"~{_pad(smoothed)}", StyleKey("legend")))
    return parts


def _pad(value: float | None) -> str:
    return ("" if value is None else format_value(value)).ljust(_VALUE_CELLS)


def _format_cross(model: ChartModel) -> str:
    text = f"step {model.cross_step():,}"
    if model.is_time_axis:
        text += f" at {format_time(model.cross or 0.0)}"
    elif model.axis != STEP:
        text += f" at {model.cross or 0.0:,.0f} {model.axis}"
    return text.ljust(16)
