"""The controller of a chart: changes the model on keys, clicks and the mouse wheel."""

from screens.chart.model import SMOOTHINGS, ChartModel
from screens.chart.window import View

_ZOOM = 0.5  # share of the view that is left after zooming in once
_PAN = 0.25  # share of the view


class ChartController:
    """Changes the model. Methods that return text return why nothing changed, or an empty string."""

    def __init__(self, model: ChartModel) -> None:
        self._model = model
        self.view: View | None = None  # of the last drawing; None before the first

    def toggle_log(self) -> str:
        model = self._model
        if not model.is_log and not model.data.has_positive_values:
            return self._explain_empty() or "A logarithmic y axis needs values above zero."
        model.is_log = not model.is_log
        return ""

    def next_axis(self) -> str:
        model = self._model
        if self.view is None or model.data.is_empty:
            return self._explain_empty()
        available = model.data.available_axes
        if len(available) == 1:
            return f"No other x axis than {available[0]!r} is available."
        place = available.index(model.axis) if model.axis in available else 0
        model.choose_axis(available[(place + 1) % len(available)], self.view)
        return ""

    def next_smoothing(self) -> str:
        model = self._model
        if model.data.is_empty:
            return self._explain_empty()
        if not model.data.has_smoothed_lines:
            return "There is no line to smooth."
        model.smoothing = SMOOTHINGS[(SMOOTHINGS.index(model.smoothing) + 1) % len(SMOOTHINGS)]
        return ""

    def toggle_follow(self) -> str:
        if self.view is None or self._model.data.is_empty:
            return self._explain_empty()
        self._model.window.toggle_follow(self.view)
        return ""

    def reset_zoom(self) -> str:
        window = self._model.window
        if self._model.data.is_empty:
            return self._explain_empty()
        if window.is_default:
            return "The whole curve is already in view."
        window.reset()
        return ""

    def zoom(self, is_inward: bool) -> str:
        """Zoom around the crosshair if it is in view, else around the newest point or the middle."""
        model, view = self._model, self.view
        if view is None or model.data.is_empty:
            return self._explain_empty()
        anchor = view.start + view.span / 2
        if model.cross is not None and view.start <= model.cross < view.stop:
            anchor = model.cross
        elif model.window.is_following:
            anchor = view.stop
        if self.zoom_at(_ZOOM if is_inward else 1 / _ZOOM, anchor):
            return ""
        return "This is the highest zoom level." if is_inward else "The whole curve is already in view."

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
            return self._explain_empty()
        if model.cross is not None:
            return "" if model.move_cross(direction, view) else "This is the end of the line."
        if model.window.is_default:
            return "The whole curve is already in view. Press + to zoom in."
        if model.window.pan(view, direction * _PAN, *model.extent()):
            return ""
        return "This is the newest step. Press f to follow it." if direction > 0 else "This is the first step."

    def toggle_cross(self) -> str:
        model, view = self._model, self.view
        if view is None or model.data.is_empty:
            return self._explain_empty()
        if model.data.longest_line is None:
            return "There is no line to read values from."
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

    def _explain_empty(self) -> str:
        """Return the text for a chart without data; empty if it has data that are not drawn yet."""
        return self._model.empty_text if self._model.data.is_empty else ""
