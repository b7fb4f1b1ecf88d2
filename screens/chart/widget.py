"""The chart as a widget: keys and wheel, colours of the theme, and a refresh of only those cells that changed."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Click, MouseEvent, MouseScrollDown, MouseScrollUp, Resize
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from screens.chart.canvas import Ink
from screens.chart.colours import style_of
from screens.chart.painting import EMPTY_WORDS, Painting, paint
from screens.chart.plot import SMOOTHINGS, Plot
from screens.chart.series import Dots, Level, Line, Marks
from screens.chart.stripe import STRIPES, Stripe
from screens.widgets.pointer import content_offset

_NEARER = 0.5  # of what is in view is in view after one zoom
_WHEEL = 0.75
_PAN = 0.25  # of what is in view


class Chart(Widget, can_focus=True):
    """Lines, dots and levels over steps, tokens or time. Nothing is drawn anew before `redraw`."""

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
        Binding("y", "log", "Log", id="chart.log", tooltip="A logarithmic y axis, or a linear one"),
        Binding("x", "axis", "Axis", id="chart.axis", tooltip="Steps, tokens or time along the x axis"),
        Binding("s", "smooth", "Smooth", id="chart.smooth", tooltip="A moving average: none, .6, .9, .98"),
        Binding("f", "follow", "Follow", id="chart.follow", tooltip="Follow the newest, or hold what is in view"),
        Binding("plus,equals_sign", "zoom(True)", "Nearer", False, "+", id="chart.nearer", tooltip="Nearer"),
        Binding("minus", "zoom(False)", "Farther", False, "-", id="chart.farther", tooltip="Farther away"),
        Binding("0", "reset", "All", False, id="chart.reset", tooltip="All of it again"),
        Binding("left", "pan(-1)", "Left", False, id="chart.left", tooltip="Earlier; moves the crosshair"),
        Binding("right", "pan(1)", "Right", False, id="chart.right", tooltip="Later; moves the crosshair"),
        Binding("c", "cross", "Cross", False, id="chart.cross", tooltip="Read off the values at a step"),
    ]

    def __init__(self, id: str | None = None, ascii: bool = False, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._ascii = ascii
        self._plot = Plot()
        self._painting: Painting | None = None
        self._due = False
        self._styles: dict[Ink, Style] = {}
        self._strips: dict[int, Strip] = {}

    # --- data -------------------------------------------------------------------------------------

    @property
    def marks(self) -> Marks:
        """What happened at a step, for the lane under the axis. `truncate` leaves marks where they are."""
        return self._plot.marks

    def add_line(self, name: str, label: str, colour: str = "series-1", smoothed: bool = True, group: str = "") -> None:
        """A value for every step; smoothed: the values stand faint behind their moving average.

        What belongs together, and has tokens and time of its own, is of one group.
        """
        self._plot.lines[name] = Line(name, label, colour, smoothed, group)
        self._plot.axes_of(group)

    def add_dots(self, name: str, label: str, colour: str = "series-2", group: str = "") -> None:
        """Values at some steps."""
        self._plot.dots[name] = Dots(name, label, colour, group)
        self._plot.axes_of(group)

    def add_level(self, name: str, label: str, value: float) -> None:
        """A value to compare with; one of that name is replaced."""
        self._plot.levels[name] = Level(name, label, value)

    def extend(self, name: str, first_step: int, values: Iterable[float]) -> None:
        """Values of a line from this step on, NaN and infinity among them; later ones that were there are replaced."""
        self._plot.lines[name].extend(first_step, values)

    def add(self, name: str, step: int, value: float) -> None:
        """A dot; one at the same step is replaced."""
        self._plot.dots[name].add(step, value)

    def set_axis_values(
        self, axis: Literal["tokens", "time"], first_step: int, values: Iterable[float], group: str = ""
    ) -> None:
        """What the steps from this one on had come to: tokens, or seconds. They never fall."""
        self._plot.axes_of(group).set_values(axis, first_step, values)

    def axis_value(self, axis: Literal["tokens", "time"], step: int, group: str = "") -> float:
        """What a step had come to; 0 where nothing is known."""
        axes = self._plot.axes_of(group)
        return axes.x_of(axis, step) if axes.knows(axis) else 0.0

    def set_axis_rate(self, axis: Literal["tokens", "time"], each: float, group: str = "") -> None:
        """What every step adds, where all add the same."""
        self._plot.axes_of(group).set_rate(axis, each)

    def truncate(self, after_step: int, group: str | None = None) -> None:
        """Forget what came after a step, of one group or of all. Marks stay: they tell why."""
        self._plot.truncate(after_step, group)

    def clear(self) -> None:
        """Forget everything; log scale and smoothing stay as chosen."""
        self._plot.clear()
        self.redraw()

    # --- drawing ----------------------------------------------------------------------------------

    def redraw(self) -> None:
        """Show what has come since. Several calls before the next frame make one drawing."""
        if not self._due and self.is_attached:
            self._due = True
            self.call_next(self._draw_if_due)

    def _draw_if_due(self) -> None:
        if self._due:
            self._draw()

    def _draw(self) -> None:
        """Draw, and refresh only those cells that differ."""
        self._due = False
        width, height = self.size
        if not self.is_attached or not width or not height:
            return
        before, self._painting = self._painting, paint(self._plot, width, height, self._ascii, self.app.no_color)
        self._tell_state()
        stripes = {stripe.left: stripe for stripe in self.query_children(Stripe) if stripe.size.width}
        changes = self._painting.canvas.changes(before.canvas if before else None, sorted(stripes))
        if changes is None or min(stripes, default=-1) != 0:  # all of it, or not laid out yet
            self._draw_anew()
            return
        regions: dict[int, list[Region]] = {}
        for y, x, width in changes:
            self._strips.pop(y, None)
            left = max(left for left in stripes if left <= x)
            regions.setdefault(left, []).append(Region(x - left, y, width, 1))
        for left, of_stripe in regions.items():
            stripes[left].refresh(*of_stripe)

    def _draw_anew(self) -> None:
        self._strips.clear()
        for stripe in self.query_children(Stripe):
            stripe.refresh()

    @property
    def text(self) -> str:
        """What is drawn, without its styles."""
        self._draw_if_due()
        return self._painting.canvas.text() if self._painting else ""

    def compose(self) -> ComposeResult:
        for _ in range(STRIPES):
            yield Stripe(self.strip)

    def render_line(self, y: int) -> Strip:
        """Nothing: the stripes lie above."""
        return Strip.blank(self.size.width, self.visual_style.rich_style)

    def strip(self, y: int) -> Strip:
        """A line as it is drawn."""
        strip = self._strips.get(y)
        if strip is None:
            base = self.visual_style.rich_style
            if self._painting is None or y >= self._painting.canvas.height:
                return Strip.blank(self.size.width, base)
            runs = self._painting.canvas.runs(y)
            strip = Strip([Segment(text, self._style(ink)) for text, ink in runs], self._painting.canvas.width)
            strip = strip.adjust_cell_length(self.size.width, base)
            self._strips[y] = strip
        return strip

    def on_mount(self) -> None:
        self._tell_state()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self._draw_anew()

    def _style(self, ink: Ink) -> Style:
        style = self._styles.get(ink)
        if style is None:
            style = self._styles[ink] = style_of(ink, self)
        return style

    def _tell_state(self) -> None:
        """How it is looked at, in the border's lower edge."""
        plot, window = self._plot, self._plot.window
        smoothing = f"smooth {plot.smoothing:g}".replace("0.", ".") if plot.smoothing else "not smoothed"
        words = [plot.axis, "log y" if plot.log else "linear y", smoothing]
        if not window.whole:
            words.append("zoomed")
        words.append("follow" if window.follow else "held")
        if plot.cross is not None:
            words.append("crosshair")
        subtitle = (" - " if self._ascii else " · ").join(words)
        if self.border_subtitle != subtitle:
            self.border_subtitle = subtitle

    # --- keys and wheel ---------------------------------------------------------------------------

    def action_log(self) -> None:
        if not self._plot.log and not self._plot.has_positive():
            self.notify(f"{EMPTY_WORDS}: there is nothing above zero for a log scale." if self._plot.is_empty else
                        "a log scale needs values above zero, and there are none.")  # fmt: skip
            return
        self._plot.log = not self._plot.log
        self._draw()

    def action_axis(self) -> None:
        if self._painting is None or self._is_empty():
            return
        known = self._plot.known_axes()
        if len(known) == 1:
            self.notify("only steps are known here: neither tokens nor time have been told.")
            return
        place = known.index(self._plot.axis) if self._plot.axis in known else 0
        self._plot.choose_axis(known[(place + 1) % len(known)], self._painting.view)
        self._draw()

    def action_smooth(self) -> None:
        if self._is_empty():
            return
        if not any(line.smoothed for line in self._plot.lines.values()):
            self.notify("there is no line here to smooth.")
            return
        self._plot.smoothing = SMOOTHINGS[(SMOOTHINGS.index(self._plot.smoothing) + 1) % len(SMOOTHINGS)]
        self._draw()

    def action_follow(self) -> None:
        if self._painting and not self._is_empty():
            self._plot.window.toggle_follow(self._painting.view)
            self._draw()

    def action_reset(self) -> None:
        window = self._plot.window
        if self._is_empty():
            return
        if window.whole and window.follow:
            self.notify("all of it is in view already.")
            return
        window.reset()
        self._draw()

    def action_zoom(self, nearer: bool) -> None:
        if self._painting is None or self._is_empty():
            return
        view = self._painting.view
        anchor = view.start + view.span / 2
        if self._plot.cross is not None and view.start <= self._plot.cross < view.stop:
            anchor = self._plot.cross
        elif self._plot.window.follow:
            anchor = view.stop
        if not self._zoom(_NEARER if nearer else 1 / _NEARER, anchor):
            self.notify("this is as near as it goes." if nearer else "all of it is in view already.")

    def action_pan(self, by: int) -> None:
        if self._painting is None or self._is_empty():
            return
        plot, view = self._plot, self._painting.view
        if plot.cross is not None:
            if not plot.move_cross(by, view):
                self.notify("there is no point further on.")
        elif plot.window.whole and plot.window.follow:
            self.notify("all of it is in view already; + goes nearer.")
        elif not plot.window.pan(view, by * _PAN, *plot.extent()):
            self.notify("this is the newest; f follows it." if by > 0 else "this is the beginning.")
        self._draw()

    def action_cross(self) -> None:
        if self._painting is None or self._is_empty():
            return
        if self._plot.leader is None:
            self.notify("there is no line here to read off.")
            return
        if self._plot.cross is None:
            view, (_, newest) = self._painting.view, self._plot.extent()
            self._plot.put_cross(newest if newest < view.stop else view.start + view.span / 2)
        else:
            self._plot.cross = None
        self._draw()

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self._zoom_at(event, _WHEEL)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self._zoom_at(event, 1 / _WHEEL)

    def on_click(self, event: Click) -> None:
        x = self._x_under(event)
        if x is not None and self._plot.cross is not None:
            self._plot.put_cross(x)
            self._draw()

    def _zoom_at(self, event: MouseEvent, factor: float) -> None:
        x = self._x_under(event)
        if x is not None and not self._plot.is_empty:
            event.stop()
            self._zoom(factor, x)

    def _zoom(self, factor: float, anchor: float) -> bool:
        plot = self._plot
        if self._painting is None:
            return False
        zoomed = plot.window.zoom(self._painting.view, factor, anchor, *plot.extent(), plot.points)
        if zoomed:
            self._draw()
        return zoomed

    def _x_under(self, event: MouseEvent) -> float | None:
        """Where on the x axis the pointer is."""
        offset = content_offset(event, self)
        if self._painting is None or offset is None:
            return None
        return self._painting.view.x_of((offset.x - self._painting.left + 0.5) * self._painting.across)

    def _is_empty(self) -> bool:
        """Whether there is nothing to look at yet; says so."""
        if self._plot.is_empty:
            self.notify(f"{EMPTY_WORDS}: there is nothing to look at.")
        return self._plot.is_empty
