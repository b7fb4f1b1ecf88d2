"""The footer of every screen: a line with as many keys as fit, among them always those that go back and show the help.

Textual's footer mounts a widget per key whenever the focus moves, which takes 100 ms per press of tab. This one is a
single widget that draws a line.
"""

from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.binding import ActiveBinding
from textual.events import Leave, MouseDown, MouseMove, Resize
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

_MIN_SPACIOUS_WIDTH = 120  # columns; a narrower footer is compact
_PINNED_ACTIONS = ("quit", "back", "screen.back", "help")  # their keys are shown on every terminal


class FooterKey(NamedTuple):
    """A key and its description."""

    key: str
    display: str
    description: str
    action: str
    is_enabled: bool
    tooltip: str

    def width(self, is_compact: bool) -> int:
        """Return the number of cells, with the gap after the key."""
        return len(self.display) + len(self.description) + (2 if is_compact else 3)


class AppFooter(Widget):
    """Shows the keys whose bindings have `show=True`; the help shows all of them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"footer--key", "footer--description", "footer--hover"}
    DEFAULT_CSS = """
    AppFooter {
        dock: bottom;
        height: 1;
        color: $footer-foreground;
        background: $footer-background;
        & > .footer--key { color: $footer-key-foreground; background: $footer-key-background; text-style: bold; }
        & > .footer--description {
            color: $footer-description-foreground; background: $footer-description-background;
        }
        & > .footer--hover { color: $footer-key-foreground; background: $block-hover-background; }
    }
    """
    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[FooterKey] = []
        self._hovered: FooterKey | None = None
        self._is_compact = False
        self.shown: list[FooterKey] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._schedule_update)

    def on_resize(self, event: Resize) -> None:
        self._fit()

    def _schedule_update(self, screen: Screen[object]) -> None:
        if screen.app.app_focus and self.is_attached and screen is self.screen:
            self.call_after_refresh(self._update_keys)

    def _update_keys(self) -> None:
        if not self.is_attached:
            return
        by_action: dict[str, ActiveBinding] = {}
        for active in self.screen.active_bindings.values():
            if active.binding.show:
                by_action.setdefault(active.binding.action, active)
        keys = [self._build_key(active) for active in by_action.values()]
        focused = self.screen.focused
        if focused and focused.check_consume_key("q", "q"):
            keys = self._replace_letters(keys)
        if keys != self._keys:
            self._keys = keys
            self._fit()

    def _build_key(self, active: ActiveBinding) -> FooterKey:
        binding = active.binding
        display = self.app.get_key_display(binding)
        return FooterKey(binding.key, display, binding.description, binding.action, active.enabled, active.tooltip)

    def _replace_letters(self, keys: list[FooterKey]) -> list[FooterKey]:
        """Return the keys for an input, which takes q and ? as text: esc and f1 work there."""
        back = self.screen.active_bindings.get("escape")
        if back and all(key.key != "escape" for key in keys):
            keys.insert(-1, self._build_key(back)._replace(display="esc", is_enabled=True))
        return [key._replace(display=key.key) if key.key == "f1" else key for key in keys]

    def _fit(self) -> None:
        """Choose the keys that fit into the line."""
        width = self.size.width
        self._is_compact = width < _MIN_SPACIOUS_WIDTH or _total_width(self._keys, is_compact=False) > width
        pinned = [key for key in self._keys if key.action in _PINNED_ACTIONS]
        left = width + self._is_compact - _total_width(pinned, self._is_compact)  # the last key needs no gap after it
        shown = []
        for key in self._keys:
            if key not in pinned:
                left -= key.width(self._is_compact)
            if key in pinned or left >= 0:
                shown.append(key)
        self.shown = shown
        self.refresh()

    # --- drawing ------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        base = self.visual_style.rich_style
        parts: list[Segment] = []
        for key in self.shown:
            parts += self._render_key(key, base)
            if self._is_compact:
                parts.append(Segment(" ", base))
        return Strip(parts).adjust_cell_length(self.size.width, base)

    def _render_key(self, key: FooterKey, base: Style) -> list[Segment]:
        names = ("hover", "hover") if key == self._hovered else ("key", "description")
        key_style, text_style = (base + self.get_component_rich_style(f"footer--{name}") for name in names)
        if not key.is_enabled:
            key_style, text_style = key_style + Style(dim=True), text_style + Style(dim=True)
        if self._is_compact:
            return [Segment(key.display, key_style), Segment(f" {key.description}", text_style)]
        return [Segment(f" {key.display} ", key_style), Segment(f"{key.description} ", text_style)]

    # --- mouse --------------------------------------------------------------------------------------

    def key_at(self, x: int) -> FooterKey | None:
        """Return the key that is drawn at a column; None between two keys."""
        left = 0
        for key in self.shown:
            right = left + key.width(self._is_compact)
            if left <= x < right - self._is_compact:
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
        self._set_hovered(self.key_at(event.x))

    def on_leave(self, event: Leave) -> None:
        self._set_hovered(None)

    def _set_hovered(self, key: FooterKey | None) -> None:
        if key != self._hovered:
            self._hovered = key
            self.tooltip = key.tooltip if key else None
            self.refresh()


def _total_width(keys: Iterable[FooterKey], is_compact: bool) -> int:
    return sum(key.width(is_compact) for key in keys)
