"""The drawing of a chart shows all of its data, at every size, in braille and in ASCII."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.chart.canvas import BLANK, Canvas, StyleKey
from screens.chart.data import XAxis
from screens.chart.model import ChartModel
from screens.chart.rendering import ChartDrawing, render_chart
from screens.chart.series import DotSeries, LineSeries, ReferenceLevel

RUN_AXES = (XAxis("tokens"), XAxis("time", is_time=True))
VALUES = st.floats() | st.floats(0, 5)


def plot_of(*lines: list[float], smoothing: float = 0.0) -> ChartModel:
    """Return a chart model with lines named a, b, c, ..., each in its own group."""
    plot = ChartModel(RUN_AXES, "no losses yet")
    plot.smoothing = smoothing
    for name, values in zip("abcdefgh", lines, strict=False):
        group = "" if len(lines) == 1 else name
        plot.data.lines[name] = LineSeries(name, name, f"series-{len(plot.data.lines) + 1}", True, group)
        plot.data.axes_of(group)
        plot.data.lines[name].extend(1, values)
    return plot


def rows_of(
    plot: ChartModel, width: int = 40, height: int = 12, ascii: bool = True, monochrome: bool = False
) -> list[str]:
    return render_chart(plot, width, height, ascii, monochrome).canvas.text().split("\n")


def cells_of(painting: ChartDrawing, part: str) -> set[tuple[int, int]]:
    style_keys = painting.canvas.style_keys
    return {(x, y) for y, row in enumerate(style_keys) for x, key in enumerate(row) if key.part == part}


def test_a_small_chart_in_ascii() -> None:
    assert rows_of(plot_of([4.0, 3.0, 2.0, 2.0, 1.0]), 26, 8) == [
        "      4+   '.",
        "       |     '.",
        "       |      '.",
        "      2+        '....",
        "       |             '.",
        "       |               '.",
        "       ++-----------------",
        "        0             step",
    ]


def test_a_small_chart_in_braille() -> None:
    assert rows_of(plot_of([1.0, 2.0]), 10, 3, ascii=False) == ["        ⡔⠁", "      ⡠⠊", "    ⢀⠜"]


def test_an_empty_chart_shows_its_placeholder_and_the_levels() -> None:
    plot = ChartModel(RUN_AXES, "no losses yet")
    assert any("no losses yet" in row for row in rows_of(plot))
    plot.data.levels["guessing"] = ReferenceLevel("guessing", "ln 29", 3.37)
    rows = rows_of(plot)
    assert any("no losses yet" in row for row in rows)
    assert any("....." in row for row in rows)


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_a_spike_among_a_million_steps_is_visible(smoothing: float) -> None:
    values = [2.0] * 1_000_000
    values[765_432] = 9.0
    painting = render_chart(plot_of(values, smoothing=smoothing), 120, 40, False, False)
    columns = {x for x, y in cells_of(painting, "raw" if smoothing else "line") if y < 20}
    spike = painting.left + painting.view.pixel(765_433) // painting.pixels_per_cell
    assert columns == {spike}


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_a_finite_step_between_two_nans_is_a_visible_point_without_lines(smoothing: float) -> None:
    values = [1.0, 1.0, math.nan, 3.0, math.nan, 1.0, 1.0]
    painting = render_chart(plot_of(values, smoothing=smoothing), 60, 20, False, False)
    of_step = {step: painting.left + painting.view.pixel(step) // painting.pixels_per_cell for step in range(1, 8)}
    drawn = {x for x, _ in cells_of(painting, "line") | cells_of(painting, "raw")}
    assert of_step[4] in drawn
    assert not drawn & set(range(of_step[2] + 1, of_step[4]))
    assert not drawn & set(range(of_step[4] + 1, of_step[6]))


def test_one_finite_step_among_a_million_nans_is_visible() -> None:
    values = [math.nan] * 1_000_000
    values[500_000] = 2.0
    assert len(cells_of(render_chart(plot_of(values), 120, 40, False, False), "line")) == 1


def test_nans_do_not_change_the_y_axis_and_are_marked_in_the_lane() -> None:
    clean, broken = plot_of([2.0, 3.0, 4.0, 3.0]), plot_of([2.0, 3.0, 4.0, 3.0, math.nan, -math.inf])
    assert [row[:8] for row in rows_of(broken)[:-3]] == [row[:8] for row in rows_of(clean, height=11)[:-2]]
    assert "NaN" in rows_of(broken)[-1]
    assert "NaN" not in rows_of(clean)[-1]


def test_an_error_hides_a_warning_in_the_same_cell() -> None:
    plot = plot_of([2.0] * 100)
    plot.data.marks.add(50, "warn", "spike")
    assert "!spike" in rows_of(plot)[-1]
    plot.data.marks.add(50, "error", "nonfinite")
    assert "xnonfinite" in rows_of(plot)[-1]
    assert "▲" not in rows_of(plot, ascii=False)[-1]


def test_a_warning_and_a_nonfinite_value_in_one_cell_are_both_visible() -> None:
    plot = plot_of([2.0] * 49 + [math.nan] + [2.0] * 50)
    plot.data.marks.add(50, "warn", "nonfinite")
    assert "!nonfinite NaN" in rows_of(plot)[-1]
    plot.data.marks.add(60, "warn", "spike")
    assert "N  !spike" in rows_of(plot)[-1]


def test_marks_without_room_for_a_label_are_single_characters() -> None:
    plot = plot_of([2.0] * 100)
    for step in range(0, 100, 5):
        plot.data.marks.add(step, "warn", "spike")
    assert "!" in rows_of(plot)[-1]
    assert "spike" not in rows_of(plot)[-1].rstrip()[:-6]


def test_appending_data_does_not_change_older_cells() -> None:
    values = [2 + math.sin(step / 9) for step in range(1_000)]
    plot = plot_of(values[:900])
    before = render_chart(plot, 100, 30, False, False)
    for length in range(910, 1_000, 10):
        plot.data.lines["a"].extend(length - 9, values[length - 10 : length])
        after = render_chart(plot, 100, 30, False, False)
        if after.view != before.view:
            break
        oldest = min(x for _, x, _ in after.canvas.changes(before.canvas) or [])
        assert oldest >= after.left + after.view.pixel(length - 10) // 2 - 1
        before = after
    else:
        pytest.fail("the view never grew: nothing was tested at its end")


def test_several_series_have_a_legend_with_their_latest_values() -> None:
    plot = plot_of([2.0, 1.5], [3.0, 2.5])
    plot.data.dots["val"] = DotSeries("val", "validation", "series-3", "a")
    plot.data.dots["val"].add(2, 1.75)
    text = "\n".join(rows_of(plot, 100, 20))
    assert all(words in text for words in ("a 1.5000", "b 2.5000", "validation 1.7500"))
    assert "a 1.5000" not in "\n".join(rows_of(plot_of([2.0, 1.5]), 100, 20))


def test_a_shortened_legend_shows_the_number_of_omitted_series() -> None:
    text = "\n".join(rows_of(plot_of(*[[1.0, 2.0]] * 8), 40, 12))
    assert "+" in text.split("\n")[1]


def test_without_colours_lines_differ_by_their_dashes() -> None:
    lines = [[2.0] * 300, [3.0] * 300, [4.0] * 300]
    solid = cells_of(render_chart(plot_of(*lines), 80, 20, False, False), "line")
    dashed = cells_of(render_chart(plot_of(*lines), 80, 20, False, True), "line")
    assert len(dashed) < len(solid)


def test_without_colours_dashes_never_hide_a_spike() -> None:
    for place in range(40, 60):
        lines = [[2.0] * 100, [2.0] * 100]
        lines[1][place] = 9.0
        rows = {y for _, y in cells_of(render_chart(plot_of(*lines), 60, 20, False, True), "line")}
        assert len(rows) > 8


def test_in_ascii_lines_have_different_characters() -> None:
    text = "\n".join(rows_of(plot_of([2.0] * 50, [3.0] * 50), 60, 20))
    assert "***" in text
    assert "+++" in text


def test_an_ascii_drawing_is_ascii() -> None:
    plot = plot_of([2.0, math.nan, 3.0], smoothing=0.9)
    plot.data.dots["val"] = DotSeries("val", "val", "series-2", "")
    plot.data.dots["val"].add(2, 2.5)
    plot.data.levels["bound"] = ReferenceLevel("bound", "entropy bound", 1.0)
    plot.data.marks.add(2, "error", "nonfinite")
    plot.cross = 2.0
    assert render_chart(plot, 80, 20, True, False).canvas.text().isascii()


def test_a_nonfinite_dot_is_marked_in_the_lane() -> None:
    plot = plot_of([2.0] * 10)
    plot.data.dots["val"] = DotSeries("val", "val", "series-2", "")
    plot.data.dots["val"].add(5, math.nan)
    assert "NaN" in rows_of(plot)[-1]


@given(
    st.lists(st.lists(VALUES, max_size=40), min_size=1, max_size=3),
    st.integers(1, 90),
    st.integers(1, 40),
    st.sampled_from(("step", "tokens", "time")),
    st.booleans(),
    st.booleans(),
)
def test_any_values_are_drawn_at_any_size(
    lines: list[list[float]], width: int, height: int, axis: str, log: bool, ascii: bool
) -> None:
    plot = plot_of(*lines, smoothing=0.6)
    for group in list(plot.data.groups):
        plot.data.axes_of(group).set_values("time", 1, range(1, 50))
        plot.data.axes_of(group).set_values("tokens", 1, [512.0] * 50)
    plot.is_log, plot.axis, plot.cross = log, axis, 2.0
    plot.data.marks.add(3, "warn", "spike")
    canvas = render_chart(plot, width, height, ascii, ascii).canvas
    assert all(len(row) == width for row in canvas.characters)
    assert len(canvas.characters) == height


def test_changed_regions_are_the_cells_that_differ() -> None:
    before, after = Canvas(30, 2), Canvas(30, 2)
    after.put(1, 1, "ab", BLANK)
    after.put(20, 1, "c", BLANK)
    assert after.changes(before) == [(1, 1, 20)]
    assert after.changes(before, (0, 10, 20)) == [(1, 1, 2), (1, 20, 1)]
    assert after.changes(after) == []
    assert after.changes(None) is None
    assert after.changes(Canvas(29, 2)) is None
    coloured = Canvas(30, 2)
    coloured.put(0, 0, " ", StyleKey("axis"))
    assert coloured.changes(Canvas(30, 2)) == [(0, 0, 1)]


def test_a_row_changes_style_only_at_written_cells() -> None:
    canvas = Canvas(8, 1)
    canvas.put(0, 0, "a", StyleKey("axis"))
    canvas.put(3, 0, "b", StyleKey("axis"))
    canvas.put(5, 0, "c", StyleKey("label"))
    assert list(canvas.runs(0)) == [("a  b ", StyleKey("axis")), ("c  ", StyleKey("label"))]


def test_characters_of_other_widths_keep_the_grid() -> None:
    canvas = Canvas(6, 1)
    canvas.put(0, 0, "a語\n\u0301b", BLANK)
    assert canvas.text() == "a???b"
