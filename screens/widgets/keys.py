"""The keys at the foot of every screen: as many as there is room for, and always the way out and the help."""

from collections.abc import Iterable, Sequence

from textual.app import ComposeResult
from textual.events import Resize
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

_ROOMY = 120  # columns from which they need not be close
_LASTING = ("leave", "back", "screen.back", "help")  # actions whose keys stay in sight


class Keys(Footer):
    """Textual's footer without the palette's key: what is shown are keys of the screen, the rest is behind `?`."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False)

    def compose(self) -> ComposeResult:
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        focused = self.screen.focused
        if focused and focused.check_consume_key("q", "q"):
            self._tell_where_text_is_typed(keys)
        self._fit(keys)
        yield from keys

    def on_resize(self, event: Resize) -> None:
        self._fit(list(self.query(FooterKey)))

    def _tell_where_text_is_typed(self, keys: list[FooterKey]) -> None:
        """There q and ? are letters: esc and f1 do instead."""
        back = self.screen.active_bindings.get("escape")
        if back and all(key.key != "escape" for key in keys):
            binding = back.binding
            way_out = FooterKey(binding.key, "esc", binding.description, binding.action, tooltip=binding.tooltip)
            keys.insert(-1, way_out.data_bind(compact=Footer.compact))
        for key in keys:
            if key.key == "f1":
                key.key_display = key.key

    def _fit(self, keys: Sequence[FooterKey]) -> None:
        room = self.size.width
        self.compact = room < _ROOMY or _width(keys, compact=False) > room
        lasting = [key for key in keys if key.action in _LASTING]
        left = room + self.compact - _width(lasting, self.compact)  # the last one needs no gap behind it
        for key in keys:
            if key not in lasting:
                left -= _width([key], self.compact)
                key.display = left >= 0


def _width(keys: Iterable[FooterKey], compact: bool) -> int:
    """Cells, with the gaps between them."""
    return sum(len(key.key_display) + len(key.description) + (2 if compact else 3) for key in keys)
