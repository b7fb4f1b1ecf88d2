"""The keys at the foot of every screen, close together where there is little room."""

from textual.events import Resize
from textual.widgets import Footer

_ROOMY = 120  # columns from which they need not be close


class Keys(Footer):
    """Textual's footer without the palette's key: what is shown are keys of the screen, the rest is behind `?`."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False)

    def on_resize(self, event: Resize) -> None:
        self.compact = event.size.width < _ROOMY
