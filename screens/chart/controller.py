"""The controller of a chart: what its keys and the mouse wheel change in the model."""

from screens.chart.model import SMOOTHINGS, ChartModel
from screens.chart.window import View

_ZOOM = 0.5  # share of the view that stays after zooming in once
_PAN = 0.25  # share of the view


class ChartController:
    """Changes the model. Each method returns why nothing changed, or an empty string."""

    def __init__(self, model: ChartModel) -> None:
        self._model = model
        self.view: View | None = None  # of the last drawing; None before the first

    def toggle_log(self) -> str:
        model = self._model
        if not model.is_log and not model.data.has_positive_values:
            reason = "a log scale needs values above zero"
            return f"{model.empty_text}; {reason}." if model.data.is_empty else f"{reason}, and there are none."
        model.is_log = not model.is_log
        return ""

    def next_axis(self) -> str:
        model = self._model
        if self.view is None or model.data.is_empty:
            return self._nothing_to_show()
        available = model.data.available_axes
        if len(available) == 1:
            return f"only the axis {available[0]!r} is available."
        place = available.index(model.axis) if model.axis in available else 0
        model.choose_axis(available[(place + 1) % len(available)], self.view)
        return ""

    def next_smoothing(self) -> str:
        model = self._model
        if model.data.is_empty:
            return self._nothing_to_show()
        if not model.data.has_smoothed_lines:
            return "there is no line to smooth."
        model.smoothing = SMOOTHINGS[(SMOOTHINGS.index(model.smoothing) + 1) % len(SMOOTHINGS)]
        return ""

    def toggle_follow(self) -> str:
        if self.view is None or self._model.data.is_empty:
            return self._nothing_to_show()
        self._model.window.toggle_follow(self.view)
        return ""

    def reset_zoom(self) -> str:
        window = self._model.window
        if self._model.data.is_empty:
            return self._nothing_to_show()
        if window.is_default:
            return "the whole curve is already in view."
        window.reset()
        return ""

    def zoom(self, is_inward: bool) -> str:
        """Zoom around the crosshair if it is in view, else around the newest point or the middle."""
        model, view = self._model, self.view
        if view is None or model.data.is_empty:
            return self._nothing_to_show()
        anchor = view.start + view.span / 2
        if model.cross is not None and view.start <= model.cross < view.stop:
            anchor = model.cross
        elif model.window.is_following:
            anchor = view.stop
        if self.zoom_at(_ZOOM if is_inward else 1 / _ZOOM, anchor):
            return ""
        return "this is the highest zoom level." if is_inward else "the whole curve is already in view."

    def zoom_at(self, factor: float, x: float) -> bool:
        """Show `factor` times as much around x. Return whether that was possible."""
        model = self._model
        if self.view is None or model.data.is_empty:
            return False
        return model.window.zoom(self.view, factor, x, *model.extent(), model.data.max_length)

    def pan(self, direction: int) -> str:
        """Move the crosshair if it is on, else the view; -1 is to the left, 1 to the right."""
        model, view = self._model, self.view
        if view is None or model.data.is_empty:
            return self._nothing_to_show()
        if model.cross is not None:
            return "" if model.move_cross(direction, view) else "this is the end of the line."
        if model.window.is_default:
            return "the whole curve is already in view; + zooms in."
        if model.window.pan(view, direction * _PAN, *model.extent()):
            return ""
        return "this is the newest step; f follows it." if direction > 0 else "this is the first step."

    def toggle_cross(self) -> str:
        model, view = self._model, self.view
        if view is None or model.data.is_empty:
            return self._nothing_to_show()
        if model.data.longest_line is None:
            return "there is no line to read values from."
        if model.cross is None:
            _, newest = model.extent()
            model.place_cross(newest if newest < view.stop else view.start + view.span / 2)
        else:
            model.cross = None
        return ""

    def move_cross_to(self, x: float) -> bool:
        """Move the crosshair, if it is on. Return whether it is."""
        if self._model.cross is None:
            return False
        self._model.place_cross(x)
        return True

    def describe(self) -> list[str]:
        """Return how the data are viewed, in a few words each."""
        model, window = self._model, self._model.window
        smoothing = f"smooth {model.smoothing:g}".replace("0.", ".") if model.smoothing else "not smoothed"
        words = [model.axis, "log y" if model.is_log else "linear y", smoothing]
        if not window.is_whole:
            words.append("zoomed")
        words.append("follow" if window.is_following else "follow off")
        if model.cross is not None:
            words.append("crosshair")
        return words

    def _nothing_to_show(self) -> str:
        return f"{self._model.empty_text}." if self._model.data.is_empty else ""  # not drawn yet
