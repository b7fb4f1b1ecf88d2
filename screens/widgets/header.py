"""The header of every screen: the names of the screens, and the numbers of active runs and guard alerts."""

from rich.text import Text
from textual.events import Click
from textual.widget import Widget

from engines.output.terminal_text import replace_symbols
from screens.state import AppState
from screens.widgets.pointer import content_offset

_MODES = (("train", "1 Train"), ("runs", "2 Runs"), ("sample", "3 Sample"), ("ablate", "4 Ablate"))
_INDENT = 1


class AppHeader(Widget):
    """Names of the screens on the left, active runs and guard alerts on the right."""

    def __init__(self, mode: str, state: AppState) -> None:
        super().__init__()
        self._mode = mode
        self._state = state
        self._painted_status = ""
        self._shows_all_names = True  # a narrow terminal has room for this screen's name only

    def update_status(self) -> None:
        """Repaint the line if the status has changed."""
        if self._status() != self._painted_status:
            self.refresh()

    def render(self) -> Text:
        names = self._screen_names()
        self._painted_status = self._status()
        status = Text(f"{self._painted_status} ")
        gap = self.size.width - names.cell_len - status.cell_len
        self._shows_all_names = gap >= 1
        if not self._shows_all_names:
            names = Text(f" {self._mode.title()} ", "reverse")
            gap = max(1, self.size.width - names.cell_len - status.cell_len)
        return names + Text(" " * gap) + status

    def on_click(self, event: Click) -> None:
        offset = content_offset(event, self)
        if offset is None or not self._shows_all_names:
            return
        stop = _INDENT
        for mode, label in _MODES:
            start, stop = stop, stop + len(label) + 2
            if start <= offset.x < stop:
                self.app.switch_mode(mode)

    def _screen_names(self) -> Text:
        names = Text(" " * _INDENT)
        for mode, label in _MODES:
            names.append(f" {label} ", "reverse" if mode == self._mode else "")
        return names

    def _status(self) -> str:
        active, guards = len(self._state.live_watches), self._state.guard_count
        parts = [f"● {active} active" if active else "no active runs"]
        if guards:
            parts.append(f"▲ {guards}")
        if self._state.readonly:
            parts.append("read-only")
        status = " · ".join(parts)
        return replace_symbols(status, self._state.ascii)
