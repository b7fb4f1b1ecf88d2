"""Zoom, pan and follow: which part of the data is in view, and that points in view do not move."""

from hypothesis import given
from hypothesis import strategies as st

from screens.chart.window import View, XWindow

PIXELS = 200


def zoom_in(times: int, newest: float) -> tuple[XWindow, View]:
    """Return a following window, zoomed in this many times."""
    window = XWindow()
    view = window.view(0, newest, PIXELS)
    for _ in range(times):
        assert window.zoom(view, 0.5, view.stop, 0, newest, int(newest))
        view = window.view(0, newest, PIXELS)
    return window, view


@given(st.floats(0, 1e7), st.floats(1, 1e7), st.integers(2, 500))
def test_all_data_are_in_view_and_fill_most_of_it(low: float, length: float, pixels: int) -> None:
    view = XWindow().view(low, low + length, pixels)
    assert view.start <= low
    assert view.pixel(low + length) < pixels
    assert view.span <= 1.3 * length + 3 * view.per_pixel


@given(st.integers(10, 100_000))
def test_growing_data_rarely_move_drawn_points(newest: int) -> None:
    window = XWindow()
    views = {window.view(0, at, PIXELS) for at in range(newest, newest + newest // 5)}
    assert len(views) <= 3


def test_a_following_window_moves_by_chunks_and_always_shows_the_newest_step() -> None:
    window, view = zoom_in(3, 1_000)
    starts = []
    for newest in range(1_000, 1_400):
        view = window.view(0, newest, PIXELS)
        assert view.start <= newest < view.stop
        starts.append(view.start)
    assert starts == sorted(starts)
    assert len(set(starts)) <= 400 / (view.span / 8) + 2


def test_a_window_that_does_not_follow_ignores_new_steps() -> None:
    window, view = zoom_in(2, 1_000)
    window.toggle_follow(view)
    assert window.view(0, 9_000, PIXELS) == view
    window.toggle_follow(view)
    assert window.view(0, 9_000, PIXELS).stop > 9_000


def test_following_again_shows_all_data() -> None:
    window = XWindow()
    window.toggle_follow(window.view(0, 1_000, PIXELS))
    assert window.view(0, 9_000, PIXELS).stop < 2_000
    window.toggle_follow(window.view(0, 9_000, PIXELS))
    assert window.view(0, 9_000, PIXELS).stop > 9_000


@given(st.floats(0, 1), st.integers(1, 6))
def test_zooming_keeps_the_anchor_at_its_column(share: float, times: int) -> None:
    window = XWindow()
    view = window.view(0, 10_000, PIXELS)
    window.toggle_follow(view)
    anchor = 10_000 * (0.2 + 0.6 * share)
    for _ in range(times):
        before = view.pixel(anchor)
        if not window.zoom(view, 0.5, anchor, 0, 10_000, 10_000):
            break
        view = window.view(0, 10_000, PIXELS)
        assert abs(view.pixel(anchor) - before) <= 2


def test_zooming_ends_at_a_few_points_and_at_all_data() -> None:
    window, view = zoom_in(1, 100)
    while window.zoom(view, 0.5, view.stop, 0, 100, 100):
        view = window.view(0, 100, PIXELS)
    assert view.span >= 4
    while window.zoom(view, 2, view.stop, 0, 100, 100):
        view = window.view(0, 100, PIXELS)
    assert window.is_whole
    assert not XWindow().zoom(XWindow().view(0, 0, PIXELS), 0.5, 0, 0, 0, 1)


def test_panning_ends_at_the_first_and_at_the_newest_step() -> None:
    window, view = zoom_in(3, 1_000)
    while window.pan(view, -0.25, 0, 1_000):
        view = window.view(0, 1_000, PIXELS)
    assert view.start == 0
    assert not window.is_following
    while window.pan(view, 0.25, 0, 1_000):
        view = window.view(0, 1_000, PIXELS)
    assert view.start < 1_000 < view.stop
