"""The line at the top of every screen: where one is, how many runs live, how many guards have tripped."""

from rich.text import Text
from textual.events import Click
from textual.widget import Widget

from screens.state import Lab
from screens.widgets.pointer import content_offset

_MODES = (("train", "1 Train"), ("runs", "2 Runs"), ("sample", "3 Sample"), ("ablate", "4 Ablate"))
_INDENT = 1


class LabHeader(Widget):
    """Names of the screens at the left, what goes on at the right."""

    def __init__(self, mode: str, lab: Lab) -> None:
        super().__init__()
        self._mode = mode
        self._lab = lab
        self._told = ""
        self._shows_names = True  # of all screens; a narrow terminal has room for this screen's only

    def look_again(self) -> None:
        """Paint what goes on if it is not what stands there."""
        if self._news() != self._told:
            self.refresh()

    def render(self) -> Text:
        left = self._screen_names()
        self._told = self._news()
        right = Text(f"{self._told} ")
        gap = self.size.width - left.cell_len - right.cell_len
        self._shows_names = gap >= 1
        if not self._shows_names:
            left = Text(f" {self._mode.title()} ", "reverse")
            gap = max(1, self.size.width - left.cell_len - right.cell_len)
        return left + Text(" " * gap) + right

    def on_click(self, event: Click) -> None:
        offset = content_offset(event, self)
        if offset is None or not self._shows_names:
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

    def _news(self) -> str:
        live, guards = len(self._lab.live), self._lab.guard_count
        runs = f"● {live} live" if live else "no run lives"
        tripped = f" · ▲ {guards}" if guards else ""
        readonly = " · read only" if self._lab.readonly else ""
        news = runs + tripped + readonly
        return news.replace("●", "*").replace("▲", "!").replace("·", "-") if self._lab.ascii else news
