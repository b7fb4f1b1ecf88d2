"""The keys at the foot of every screen: as many as there is room for, and always the way out and the help.

Textual's footer is a widget for each key, mounted anew whenever the focus moves: 100 ms for each press of tab. This one
is a single widget that draws a line.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.binding import ActiveBinding
from textual.events import Leave, MouseDown, MouseMove, Resize
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

_ROOMY = 120  # columns from which they need not be close
_LASTING = ("leave", "back", "screen.back", "help")  # actions whose keys stay in sight


class ShownKey(NamedTuple):
    """A key with what it does."""

    key: str
    display: str
    description: str
    action: str
    is_enabled: bool
    tooltip: str

    def width(self, is_compact: bool) -> int:
        """Cells, with the gap behind it."""
        return len(self.display) + len(self.description) + (2 if is_compact else 3)


class Keys(Widget):
    """The keys of the screen that are always shown; `?` shows the rest."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keys--key", "keys--description", "keys--hover"}
    DEFAULT_CSS = """
    Keys {
        dock: bottom;
        height: 1;
        color: $footer-foreground;
        background: $footer-background;
        & > .keys--key { color: $footer-key-foreground; background: $footer-key-background; text-style: bold; }
        & > .keys--description { color: $footer-description-foreground; background: $footer-description-background; }
        & > .keys--hover { color: $footer-key-foreground; background: $block-hover-background; }
    }
    """
    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._all: list[ShownKey] = []
        self._hovered: ShownKey | None = None
        self.is_compact = False
        self.shown: list[ShownKey] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._take_bindings)

    def on_resize(self, event: Resize) -> None:
        self._fit()

    def _take_bindings(self, screen: Screen[object]) -> None:
        if screen.app.app_focus and self.is_attached and screen is self.screen:
            self.call_after_refresh(self._read_bindings)

    def _read_bindings(self) -> None:
        if not self.is_attached:
            return
        by_action: dict[str, ActiveBinding] = {}
        for active in self.screen.active_bindings.values():
            if active.binding.show:
                by_action.setdefault(active.binding.action, active)
        keys = [self._shown(active) for active in by_action.values()]
        focused = self.screen.focused
        if focused and focused.check_consume_key("q", "q"):
            keys = self._where_text_is_typed(keys)
        if keys != self._all:
            self._all = keys
            self._fit()

    def _shown(self, active: ActiveBinding) -> ShownKey:
        binding = active.binding
        display = self.app.get_key_display(binding)
        return ShownKey(binding.key, display, binding.description, binding.action, active.enabled, active.tooltip)

    def _where_text_is_typed(self, keys: list[ShownKey]) -> list[ShownKey]:
        """There q and ? are letters: esc and f1 do instead."""
        back = self.screen.active_bindings.get("escape")
        if back and all(key.key != "escape" for key in keys):
            keys.insert(-1, self._shown(back)._replace(display="esc", is_enabled=True))
        return [key._replace(display=key.key) if key.key == "f1" else key for key in keys]

    def _fit(self) -> None:
        room = self.size.width
        self.is_compact = room < _ROOMY or _width(self._all, is_compact=False) > room
        lasting = [key for key in self._all if key.action in _LASTING]
        left = room + self.is_compact - _width(lasting, self.is_compact)  # the last one needs no gap behind it
        shown = []
        for key in self._all:
            if key not in lasting:
                left -= key.width(self.is_compact)
            if key in lasting or left >= 0:
                shown.append(key)
        self.shown = shown
        self.refresh()

    # --- drawing ------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        base = self.visual_style.rich_style
        parts: list[Segment] = []
        for key in self.shown:
            parts += self._segments(key, base)
            if self.is_compact:
                parts.append(Segment(" ", base))
        return Strip(parts).adjust_cell_length(self.size.width, base)

    def _segments(self, key: ShownKey, base: Style) -> list[Segment]:
        names = ("hover", "hover") if key == self._hovered else ("key", "description")
        key_style, text_style = (base + self.get_component_rich_style(f"keys--{name}") for name in names)
        if not key.is_enabled:
            key_style, text_style = key_style + Style(dim=True), text_style + Style(dim=True)
        if self.is_compact:
            return [Segment(key.display, key_style), Segment(f" {key.description}", text_style)]
        return [Segment(f" {key.display} ", key_style), Segment(f"{key.description} ", text_style)]

    # --- the pointer --------------------------------------------------------------------------------

    def key_at(self, x: int) -> ShownKey | None:
        """Return the key that is drawn at a column."""
        left = 0
        for key in self.shown:
            right = left + key.width(self.is_compact)
            if left <= x < right - self.is_compact:
                return key
            left = right
        return None

    def on_mouse_down(self, event: MouseDown) -> None:
        if key := self.key_at(event.x):
            if key.is_enabled:
                self.app.simulate_key(key.key)
            else:
                self.app.bell()

    def on_mouse_move(self, event: MouseMove) -> None:
        self._hover(self.key_at(event.x))

    def on_leave(self, event: Leave) -> None:
        self._hover(None)

    def _hover(self, key: ShownKey | None) -> None:
        if key != self._hovered:
            self._hovered = key
            self.tooltip = key.tooltip if key else None
            self.refresh()


def _width(keys: Iterable[ShownKey] | Sequence[ShownKey], is_compact: bool) -> int:
    return sum(key.width(is_compact) for key in keys)
