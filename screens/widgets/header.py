"""The line at the top of every screen: where one is, how many runs live, how many guards have tripped."""

from rich.text import Text
from textual.events import Click
from textual.widget import Widget

from screens.lab import Lab

_MODES = (("train", "1 Train"), ("runs", "2 Runs"), ("sample", "3 Sample"), ("ablate", "4 Ablate"))


class LabHeader(Widget):
    """Names of the screens at the left, what goes on at the right."""

    def __init__(self, mode: str, lab: Lab) -> None:
        super().__init__()
        self._mode = mode
        self._lab = lab
        self._told = ""

    def look_again(self) -> None:
        """Paint what goes on if it is not what stands there."""
        if self._news() != self._told:
            self.refresh()

    def render(self) -> Text:
        left = Text(" ")
        for mode, label in _MODES:
            left.append(f" {label} ", "reverse" if mode == self._mode else "")
        self._told = self._news()
        right = Text(f"{self._told} ")
        gap = self.size.width - left.cell_len - right.cell_len
        if gap < 1:
            left = Text(f" {self._mode.title()} ", "reverse")
            gap = max(1, self.size.width - left.cell_len - right.cell_len)
        return left + Text(" " * gap) + right

    def on_click(self, event: Click) -> None:
        place = 1
        for mode, label in _MODES:
            place += len(label) + 2
            if event.x < place:
                self.app.switch_mode(mode)
                return

    def _news(self) -> str:
        live, guards = len(self._lab.live), self._lab.guard_count
        runs = f"● {live} live" if live else "no run lives"
        tripped = f" · ▲ {guards}" if guards else ""
        readonly = " · read only" if self._lab.readonly else ""
        news = runs + tripped + readonly
        return news.replace("●", "*").replace("▲", "!").replace("·", "-") if self._lab.ascii else news
