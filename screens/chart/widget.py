"""The chart as a widget: its keys and mouse events, the colours of the theme, and a refresh of changed cells only."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Click, MouseEvent, MouseScrollDown, MouseScrollUp, Resize
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from screens.chart.controller import ChartController
from screens.chart.data import ChartData, XAxis
from screens.chart.model import ChartModel
from screens.chart.painter import StripPainter
from screens.chart.rendering import ChartDrawing, render_chart
from screens.chart.stripe import STRIPES, ChartStripe
from screens.widgets.pointer import content_offset

_WHEEL_ZOOM = 0.75  # share of the view that is left after one click of the wheel


class Chart(Widget, can_focus=True):
    """Lines, dots and levels over steps, or over one of the `axes`. Changed data are drawn after `redraw`.

    While there are no data, `empty_text` is drawn, and shown as a toast by keys that need data.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"chart--{part}" for part in ("axis", "label", "legend", "value", "level", "cross", "warn", "error", "empty")
    }
    DEFAULT_CSS = """
    Chart {
        layout: horizontal;
        height: 1fr;
        & > .chart--axis { color: $foreground-muted; }
        & > .chart--label { color: $foreground-muted; }
        & > .chart--legend { color: $foreground-muted; }
        & > .chart--value { text-style: bold; }
        & > .chart--level { color: $foreground-muted; }
        & > .chart--cross { color: $accent; }
        & > .chart--warn { color: $warning; text-style: bold; }
        & > .chart--error { color: $error; text-style: bold; }
        & > .chart--empty { color: $foreground-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "y",
            "control('toggle_log')",
            "Log",
            id="chart.log",
            tooltip="Switch between a linear and a logarithmic y axis",
        ),
        Binding(
            "x", "control('next_axis')", "Axis", id="chart.axis", tooltip="Change the x axis: step, tokens or time"
        ),
        Binding(
            "s",
            "control('next_smoothing')",
            "Smooth",
            id="chart.smooth",
            tooltip="Change the smoothing of the curves",
        ),
        Binding(
            "f",
            "control('toggle_follow')",
            "Follow",
            id="chart.follow",
            tooltip="Follow the newest step, or stop following",
        ),
        Binding(
            "plus,equals_sign", "zoom(True)", "Zoom in", False, "+", id="chart.zoom_in", tooltip="Zoom in on the x axis"
        ),
        Binding("minus", "zoom(False)", "Zoom out", False, "-", id="chart.zoom_out", tooltip="Zoom out of the x axis"),
        Binding("0", "control('reset_zoom')", "Reset zoom", False, id="chart.reset_zoom", tooltip="Show all steps"),
        Binding("left", "pan(-1)", "Left", False, id="chart.left", tooltip="Move the view or the crosshair left"),
        Binding("right", "pan(1)", "Right", False, id="chart.right", tooltip="Move the view or the crosshair right"),
        Binding(
            "c",
            "control('toggle_cross')",
            "Crosshair",
            False,
            id="chart.cross",
            tooltip="Show or hide a crosshair with the values at a step",
        ),
    ]

    def __init__(
        self,
        axes: Sequence[XAxis] = (),
        empty_text: str = "No data yet",
        *,
        ascii: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._ascii = ascii
        self.model = ChartModel(axes, empty_text)
        self._controller = ChartController(self.model)
        self._painter = StripPainter(self)
        self._drawing: ChartDrawing | None = None
        self._is_redraw_due = False

    @property
    def data(self) -> ChartData:
        """The data; call `redraw` after changing them."""
        return self.model.data

    def clear(self) -> None:
        """Remove the data and reset the view; log scale and smoothing stay."""
        self.model.clear()
        self.redraw()

    def reset_view(self) -> None:
        """Reset axis, scales, smoothing, zoom and crosshair."""
        self.model.reset_view()
        self.redraw()

    # --- drawing ------------------------------------------------------------------------------------

    def redraw(self) -> None:
        """Draw the data before the next frame, once for several calls."""
        if not self._is_redraw_due and self.is_attached:
            self._is_redraw_due = True
            self.call_next(self._draw_if_due)

    @property
    def text(self) -> str:
        """The drawing without its styles."""
        self._draw_if_due()
        return self._drawing.canvas.text() if self._drawing else ""

    def compose(self) -> ComposeResult:
        for _ in range(STRIPES):
            yield ChartStripe(self.strip)

    def render_line(self, y: int) -> Strip:
        """Return a blank line: the stripes are drawn over it."""
        return Strip.blank(self.size.width, self.visual_style.rich_style)

    def strip(self, y: int) -> Strip:
        """Return a line of the drawing."""
        return self._painter.strip(y)

    def on_mount(self) -> None:
        self._show_view_state()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._painter.forget_styles()
        self._refresh_stripes()

    def _draw_if_due(self) -> None:
        if self._is_redraw_due:
            self._draw()

    def _draw(self) -> None:
        """Draw the model, and refresh only the cells that differ from the previous drawing."""
        self._is_redraw_due = False
        width, height = self.size
        if not self.is_attached or not width or not height:
            return
        before = self._drawing
        self._drawing = drawing = render_chart(self.model, width, height, self._ascii, self.app.no_color)
        self._controller.view = drawing.view
        self._show_view_state()
        stripes = {stripe.left: stripe for stripe in self.query_children(ChartStripe) if stripe.size.width}
        changes = drawing.canvas.changes(before.canvas if before else None, sorted(stripes))
        if changes is None or min(stripes, default=-1) != 0:  # another size, or not laid out yet
            self._painter.show(drawing, None)
            self._refresh_stripes()
            return
        self._painter.show(drawing, {y for y, _, _ in changes})
        regions: dict[int, list[Region]] = {}
        for y, x, cells in changes:
            left = max(left for left in stripes if left <= x)
            regions.setdefault(left, []).append(Region(x - left, y, cells, 1))
        for left, of_stripe in regions.items():
            stripes[left].refresh(*of_stripe)

    def _refresh_stripes(self) -> None:
        for stripe in self.query_children(ChartStripe):
            stripe.refresh()

    def _show_view_state(self) -> None:
        subtitle = (" - " if self._ascii else " · ").join(self._controller.describe())
        if self.border_subtitle != subtitle:  # setting it paints the whole chart again
            self.border_subtitle = subtitle

    # --- keys and mouse -----------------------------------------------------------------------------

    def action_control(self, name: str) -> None:
        """Call a method of the controller by its name."""
        self._apply(getattr(self._controller, name))

    def action_zoom(self, is_inward: bool) -> None:
        self._apply(lambda: self._controller.zoom(is_inward))

    def action_pan(self, direction: int) -> None:
        self._apply(lambda: self._controller.pan(direction))

    def _apply(self, change: Callable[[], str]) -> None:
        """Change the model and draw it, or show why nothing changed."""
        if reason := change():
            self.notify(reason)
        self._draw()

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self._zoom_at_pointer(event, _WHEEL_ZOOM)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self._zoom_at_pointer(event, 1 / _WHEEL_ZOOM)

    def on_click(self, event: Click) -> None:
        x = self._x_at_pointer(event)
        if x is not None and self._controller.move_cross_to(x):
            self._draw()

    def _zoom_at_pointer(self, event: MouseEvent, factor: float) -> None:
        x = self._x_at_pointer(event)
        if x is not None and not self.data.is_empty:
            event.stop()
            if self._controller.zoom_at(factor, x):
                self._draw()

    def _x_at_pointer(self, event: MouseEvent) -> float | None:
        """Return the x value under the pointer; None outside of the chart."""
        offset, drawing = content_offset(event, self), self._drawing
        if drawing is None or offset is None:
            return None
        return drawing.view.x_of((offset.x - drawing.left + 0.5) * drawing.pixels_per_cell)
