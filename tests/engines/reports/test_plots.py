"""Plots: gaps where a loss is not finite, every spike, scales that fit, bands over seeds."""

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree
from array import array
from pathlib import Path

import pytest
from builders import make_run
from hypothesis import given
from hypothesis import strategies as st

from engines.ablation.analysis import CellReport
from engines.reports.downsampling import smooth_means, split_into_bins
from engines.reports.plot import Band, Curve, Dot, Mark, PlotData, choose_y_scale
from engines.reports.plot_svg import draw_plot
from engines.reports.run_plots import plot_run
from engines.reports.study_plots import CellData, SeedCurve, SeedData, plot_study
from engines.runs.record import read_record

NAN = math.nan
ANY = st.floats(allow_nan=True, allow_infinity=True)


def parse_plot(plot: PlotData) -> ElementTree.Element:
    return ElementTree.fromstring(draw_plot(plot))


def list_paths(plot: PlotData) -> list[str]:
    """Return the paths of curves and bands."""
    return [found.get("d", "") for found in parse_plot(plot).iter("{http://www.w3.org/2000/svg}path")]


def list_texts(plot: PlotData) -> list[str]:
    return ["".join(found.itertext()) for found in parse_plot(plot).iter() if found.tag.endswith(("}text", "}title"))]


def curve(*y: float) -> PlotData:
    return PlotData("loss", "Loss", "step", "nats", (Curve("run", [float(x) for x in range(len(y))], list(y), 0),))


def test_a_loss_that_is_not_finite_leaves_a_gap_in_the_curve() -> None:
    assert list_paths(curve(3, 2, 1, 2, 1))[0].count("M") == 1
    assert list_paths(curve(3, 2, NAN, 2, 1))[0].count("M") == 2
    assert list_paths(curve(3, 2, math.inf, 2, 2, -math.inf, 1, 2))[0].count("M") == 3


def test_a_single_value_between_two_gaps_is_a_dot() -> None:
    circles = list(parse_plot(curve(3, 2, NAN, 1, NAN, 2, 3)).iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == 1 and list_paths(curve(3, 2, NAN, 1, NAN, 2, 3))[0].count("M") == 2


@given(st.lists(ANY, max_size=40), st.lists(ANY, max_size=5))
def test_plots_of_any_numbers_have_finite_coordinates(ys: list[float], dots: list[float]) -> None:
    xs = [float(x) for x in range(len(ys))]
    marks = (Mark(0, 1, "\x00<&", "broken"), Mark(2, 2, "x", "event"))
    points = tuple(Dot(float(x), y, "]]>", 9) for x, y in enumerate(dots))
    text = draw_plot(
        PlotData("p", "t", "x", "y", (Curve("<c>", xs, ys, 3),), (Band(xs, ys, ys[::-1], 3),), points, marks)
    )
    for found in ElementTree.fromstring(text).iter():
        for name in {"x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "width", "height"}.intersection(found.keys()):
            assert math.isfinite(float(found.attrib[name])), found.attrib
        assert not re.search("nan|inf", found.get("d", ""))


def test_tick_labels_of_steps_are_whole_numbers() -> None:
    words = list_texts(PlotData("p", "t", "step", "y", (Curve("c", [1.0, 2.0], [10.0, 60.0], 0),)))
    assert "1" in words and "2" in words and not any("." in word for word in words)


@given(st.lists(ANY, min_size=1, max_size=200), st.integers(1, 50))
def test_bins_keep_every_extreme_and_every_value_that_is_not_finite(values: list[float], most: int) -> None:
    found = split_into_bins(array("d", values), most)
    finite = [value for value in values if math.isfinite(value)]
    assert len(found) == min(most, len(values)) and len(smooth_means(found)) == len(found)
    assert found[0].first == 1 and found[-1].last == len(values)
    assert all(before.last + 1 == after.first for before, after in itertools.pairwise(found))
    assert sum(each.nonfinite for each in found) == len(values) - len(finite)
    for each in found:
        slice = values[each.first - 1 : each.last]
        broken = [step for step, value in enumerate(slice, each.first) if not math.isfinite(value)]
        assert each.broken == ((broken[0], broken[-1]) if broken else (0, 0))
        assert not each.finite or (values[each.low_at - 1], values[each.high_at - 1]) == (each.low, each.high)
    if finite:
        assert min(each.low for each in found if each.finite) == min(finite)
        assert max(each.high for each in found if each.finite) == max(finite)


def test_an_outlier_does_not_flatten_the_curve_and_has_an_arrow() -> None:
    plot = curve(*[2.0 + place / 100 for place in range(100)], 50.0)
    assert choose_y_scale(plot.values()).high < 4 and "50 at 100" in list_texts(plot)


def test_the_arrow_of_an_outlier_shows_its_exact_step(tmp_path: Path) -> None:
    record = read_record(make_run(tmp_path))
    losses = array("d", [2.0 + step % 7 / 100 for step in range(100_000)])
    losses[70_077], losses[30_003] = 50.0, NAN
    history = record.history
    history.losses, history.tokens = losses, 800_000
    history.lr = history.seconds = history.grad_norms = array("d", [0.5]) * len(losses)
    words = list_texts(plot_run(record)[0])
    assert "50 at 70,078" in words and "loss not finite at step 30,004" in words


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 100], [5], [0, 0, 0], [1e300, 1e300]])
def test_no_value_of_few_is_cut_off(values: list[float]) -> None:
    scale = choose_y_scale(values)
    assert scale.low <= min(values) and max(values) <= scale.high and scale.low < scale.high


def test_a_linear_plot_has_no_log_scale() -> None:
    rates = [0.03, 0.02, 0.0001]
    assert choose_y_scale(rates).log and not choose_y_scale(rates, linear=True).log


def seed(*bpb: float, until: int | None = None) -> SeedData:
    steps = [10.0 * place for place in range(len(bpb))][:until]
    return SeedData(8.0, SeedCurve(steps, list(bpb)[:until]), SeedCurve(steps, list(bpb)[:until]))


def plot_seeds(*seeds: SeedData) -> dict[str, PlotData]:
    report = CellReport(0, "cell", {}, 0, (), None, None, None, None, None)
    return {plot.name: plot for plot in plot_study("study-1", [CellData(report, list(seeds))], 1)}


def test_the_curve_of_a_cell_is_the_mean_of_its_seeds_in_a_band_from_minimum_to_maximum() -> None:
    plot = plot_seeds(seed(4, 3, 2), seed(4, 5, 6), seed(4, 4, 1))["bpb"]
    assert plot.curves[0].y == [4, 4, 3]
    assert (plot.bands[0].low, plot.bands[0].high) == ([4, 3, 1], [4, 5, 6])


def test_the_mean_leaves_out_seeds_that_are_not_finite_or_have_ended() -> None:
    assert plot_seeds(seed(4, 3, NAN), seed(4, 5, 6))["bpb"].curves[0].y == [4, 4, 6]
    assert plot_seeds(seed(4, 3, 2, 2, 2), seed(4, 5, 6, 7, 8, until=2))["bpb"].curves[0].y == [4, 4, 2, 2, 2]


def test_the_second_half_has_a_plot_of_its_own() -> None:
    found = plot_seeds(seed(9, 8, 1.1, 1.0, 0.9), seed(9, 8, 1.2, 1.1, 1.0))
    assert list(found) == ["bpb", "bpb-end", "loss", "loss-end"]
    assert found["bpb-end"].curves[0].x == [20, 30, 40] and max(found["bpb-end"].values()) == 1.2
