"""What plots show: breaks where a loss is no number, every spike, scales that fit, bands over seeds."""

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
from engines.reports.downsampling import parts, smoothed
from engines.reports.plot import Band, Curve, Dot, Mark, Plot, y_scale
from engines.reports.plot_svg import svg
from engines.reports.run_plots import run_plots
from engines.reports.study_plots import Cell, Seed, Trace, study_plots
from engines.runs.record import read_record

NAN = math.nan
ANY = st.floats(allow_nan=True, allow_infinity=True)


def drawn(plot: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(svg(plot))


def paths(plot: Plot) -> list[str]:
    """Of curves and bands."""
    return [found.get("d", "") for found in drawn(plot).iter("{http://www.w3.org/2000/svg}path")]


def told(plot: Plot) -> list[str]:
    return ["".join(found.itertext()) for found in drawn(plot).iter() if found.tag.endswith(("}text", "}title"))]


def curve(*y: float) -> Plot:
    return Plot("loss", "Loss", "step", "nats", (Curve("run", [float(x) for x in range(len(y))], list(y), 0),))


def test_a_loss_that_is_no_number_breaks_the_curve() -> None:
    assert paths(curve(3, 2, 1, 2, 1))[0].count("M") == 1
    assert paths(curve(3, 2, NAN, 2, 1))[0].count("M") == 2
    assert paths(curve(3, 2, math.inf, 2, 2, -math.inf, 1, 2))[0].count("M") == 3


def test_a_single_value_between_two_breaks_is_a_dot() -> None:
    circles = list(drawn(curve(3, 2, NAN, 1, NAN, 2, 3)).iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == 1 and paths(curve(3, 2, NAN, 1, NAN, 2, 3))[0].count("M") == 2


@given(st.lists(ANY, max_size=40), st.lists(ANY, max_size=5))
def test_any_numbers_give_a_picture_with_finite_places(ys: list[float], dots: list[float]) -> None:
    xs = [float(x) for x in range(len(ys))]
    marks = (Mark(0, 1, "\x00<&", "broken"), Mark(2, 2, "x", "event"))
    points = tuple(Dot(float(x), y, "]]>", 9) for x, y in enumerate(dots))
    text = svg(Plot("p", "t", "x", "y", (Curve("<c>", xs, ys, 3),), (Band(xs, ys, ys[::-1], 3),), points, marks))
    for found in ElementTree.fromstring(text).iter():
        for name in {"x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "width", "height"}.intersection(found.keys()):
            assert math.isfinite(float(found.attrib[name])), found.attrib
        assert not re.search("nan|inf", found.get("d", ""))


def test_steps_are_counted_in_whole_numbers() -> None:
    words = told(Plot("p", "t", "step", "y", (Curve("c", [1.0, 2.0], [10.0, 60.0], 0),)))
    assert "1" in words and "2" in words and not any("." in word for word in words)


@given(st.lists(ANY, min_size=1, max_size=200), st.integers(1, 50))
def test_columns_lose_no_spike_and_no_break(values: list[float], most: int) -> None:
    found = parts(array("d", values), most)
    finite = [value for value in values if math.isfinite(value)]
    assert len(found) == min(most, len(values)) and len(smoothed(found)) == len(found)
    assert found[0].first == 1 and found[-1].last == len(values)
    assert all(before.last + 1 == after.first for before, after in itertools.pairwise(found))
    assert sum(part.nonfinite for part in found) == len(values) - len(finite)
    for part in found:
        slice = values[part.first - 1 : part.last]
        broken = [step for step, value in enumerate(slice, part.first) if not math.isfinite(value)]
        assert part.broken == ((broken[0], broken[-1]) if broken else (0, 0))
        assert not part.finite or (values[part.low_at - 1], values[part.high_at - 1]) == (part.low, part.high)
    if finite:
        assert min(part.low for part in found if part.finite) == min(finite)
        assert max(part.high for part in found if part.finite) == max(finite)


def test_one_value_far_out_of_many_does_not_flatten_the_rest_and_is_pointed_at() -> None:
    plot = curve(*[2.0 + place / 100 for place in range(100)], 50.0)
    assert y_scale(plot.values()).high < 4 and "50 at 100" in told(plot)


def test_of_many_steps_an_outlier_is_pointed_at_where_it_was(tmp_path: Path) -> None:
    record = read_record(make_run(tmp_path))
    losses = array("d", [2.0 + step % 7 / 100 for step in range(100_000)])
    losses[70_077], losses[30_003] = 50.0, NAN
    history = record.history
    history.losses, history.tokens = losses, 800_000
    history.lr = history.seconds = history.grad_norms = array("d", [0.5]) * len(losses)
    words = told(run_plots(record)[0])
    assert "50 at 70,078" in words and "loss not finite at step 30,004" in words


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 100], [5], [0, 0, 0], [1e300, 1e300]])
def test_of_few_values_none_is_left_out(values: list[float]) -> None:
    scale = y_scale(values)
    assert scale.low <= min(values) and max(values) <= scale.high and scale.low < scale.high


def test_what_falls_to_zero_by_design_stays_linear() -> None:
    rates = [0.03, 0.02, 0.0001]
    assert y_scale(rates).log and not y_scale(rates, linear=True).log


def seed(*bpb: float, until: int | None = None) -> Seed:
    steps = [10.0 * place for place in range(len(bpb))][:until]
    return Seed(8.0, Trace(steps, list(bpb)[:until]), Trace(steps, list(bpb)[:until]))


def plots_of(*seeds: Seed) -> dict[str, Plot]:
    report = CellReport(0, "cell", {}, 0, (), None, None, None, None, None)
    return {plot.name: plot for plot in study_plots("study-1", [Cell(report, list(seeds))], 1)}


def test_a_cell_is_the_mean_of_its_seeds_in_a_band_from_least_to_most() -> None:
    plot = plots_of(seed(4, 3, 2), seed(4, 5, 6), seed(4, 4, 1))["bpb"]
    assert plot.curves[0].y == [4, 4, 3]
    assert (plot.bands[0].low, plot.bands[0].high) == ([4, 3, 1], [4, 5, 6])


def test_a_seed_that_broke_leaves_the_mean_to_the_others() -> None:
    assert plots_of(seed(4, 3, NAN), seed(4, 5, 6))["bpb"].curves[0].y == [4, 4, 6]
    assert plots_of(seed(4, 3, 2, 2, 2), seed(4, 5, 6, 7, 8, until=2))["bpb"].curves[0].y == [4, 4, 2, 2, 2]


def test_the_last_half_is_drawn_again_on_a_scale_of_its_own() -> None:
    found = plots_of(seed(9, 8, 1.1, 1.0, 0.9), seed(9, 8, 1.2, 1.1, 1.0))
    assert list(found) == ["bpb", "bpb-end", "loss", "loss-end"]
    assert found["bpb-end"].curves[0].x == [20, 30, 40] and max(found["bpb-end"].values()) == 1.2
