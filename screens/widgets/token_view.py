"""Sampled text as a widget: tokens coloured by surprisal on request, with a cursor that moves from token to token."""

import dataclasses
from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.widgets.pointer import content_offset
from screens.widgets.token_layout import PROMPT, Place, ShownToken, TokenLayout

HEAT_BITS = (1, 2, 4, 8)  # surprisals at which the next step of the colour scale begins
_END_MARK = "■"  # shown for the end of a document


def heat_step(bits: float) -> int:
    """Return the step of the colour scale, from 0 (expected) to 4 (surprising)."""
    return bisect_right(HEAT_BITS, bits)


class TokenView(ScrollView, can_focus=True):
    """Text of one or more samples, one below the other, each after the prompt."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "token-view--prompt",
        "token-view--rule",
        "token-view--cursor",
        *(f"token-view--heat-{step}" for step in range(len(HEAT_BITS) + 1)),
        *(f"token-view--mono-{step}" for step in range(len(HEAT_BITS) + 1)),
    }
    DEFAULT_CSS = """
    TokenView {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        & > .token-view--prompt { color: $foreground-muted; }
        & > .token-view--rule { color: $foreground-muted; }
        & > .token-view--cursor { text-style: reverse bold; }
        & > .token-view--heat-0 { }
        & > .token-view--heat-1 { background: $accent 15%; }
        & > .token-view--heat-2 { background: $accent 35%; }
        & > .token-view--heat-3 { background: $error 45%; }
        & > .token-view--heat-4 { background: $error 75%; }
        & > .token-view--mono-0 { text-style: none; }
        & > .token-view--mono-1 { text-style: underline; }
        & > .token-view--mono-2 { text-style: bold; }
        & > .token-view--mono-3 { text-style: bold underline; }
        & > .token-view--mono-4 { text-style: bold underline italic; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "left", "step(-1)", "Previous token", id="tokens.left", tooltip="Move to the previous token", show=False
        ),
        Binding("right", "step(1)", "Next token", id="tokens.right", tooltip="Move to the next token", show=False),
        Binding("up", "line(-1)", "Line above", id="tokens.up", tooltip="Move to the token above", show=False),
        Binding("down", "line(1)", "Line below", id="tokens.down", tooltip="Move to the token below", show=False),
        Binding("home", "edge(False)", "First token", id="tokens.home", tooltip="Move to the first token", show=False),
        Binding("end", "edge(True)", "Last token", id="tokens.end", tooltip="Move to the last token", show=False),
        Binding("pageup", "page_up", "Page up", id="tokens.page_up", tooltip="Scroll up by a page", show=False),
        Binding(
            "pagedown", "page_down", "Page down", id="tokens.page_down", tooltip="Scroll down by a page", show=False
        ),
    ]

    heat: reactive[bool] = reactive(False)
    monochrome: reactive[bool] = reactive(False)
    ascii: reactive[bool] = reactive(False)
    cursor: reactive[Place | None] = reactive(None)

    @dataclasses.dataclass
    class CursorMoved(Message):
        """The cursor moved to another token, or was removed."""

        token_view: "TokenView"
        token: ShownToken | None

        @property
        def control(self) -> "TokenView":
            return self.token_view

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.token_layout = TokenLayout(self._text_of)

    # --- text ---------------------------------------------------------------------------------------

    def begin(self, prompt: str, count: int) -> None:
        """Remove all text; `count` samples will continue the prompt."""
        self.token_layout = TokenLayout(self._text_of, prompt, count, self._available_width)
        self.cursor = None
        self._update_size()
        self.scroll_home(animate=False)

    def extend(self, sample: int, tokens: Sequence[ShownToken]) -> None:
        """Add tokens to a sample."""
        is_at_end = self.scroll_offset.y >= self.max_scroll_y - 1
        self.token_layout.extend(sample, tokens)
        self._update_size()
        if is_at_end and self.token_layout.count == 1 and self.cursor is None:
            self.scroll_end(animate=False, immediate=True)

    @property
    def token(self) -> ShownToken | None:
        """The token at the cursor."""
        return self.token_layout.token(self.cursor) if self.cursor else None

    @property
    def _available_width(self) -> int:
        return self.size.width - 2  # the scrollbar takes a column, and a newline may exceed the edge by one

    def _text_of(self, token: ShownToken) -> str:
        return ("#" if self.ascii else _END_MARK) if token.ends else token.text

    def _update_size(self) -> None:
        self.virtual_size = Size(self.size.width, self.token_layout.height)
        self.refresh()

    def on_resize(self, event: Resize) -> None:
        self.token_layout.set_width(self._available_width)
        self._update_size()

    # --- drawing ------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        base = self.visual_style.rich_style
        found = self.token_layout.find_line(y + self.scroll_offset.y)
        if found is None:
            return Strip.blank(self.size.width, base)
        sample, number = found
        if number < 0:
            segments = [Segment(self._format_rule(sample), self._style("rule"))]
        else:
            pieces = self.token_layout.pieces(sample, number)
            segments = [Segment(piece.text, self._style_of(Place(sample, piece.owner))) for piece in pieces]
        return Strip(segments).extend_cell_length(self.size.width, base).crop(0, self.size.width)

    def _format_rule(self, sample: int) -> str:
        dash = "-" if self.ascii else "─"
        return f"{dash * 2} {sample + 1} {dash * self.size.width}"[: self.size.width]

    def _style_of(self, place: Place) -> Style:
        if self.cursor == place:
            return self._style("cursor")
        if place.token == PROMPT:
            return self._style("prompt")
        token = self.token_layout.token(place)
        if self.heat:
            return self.step_style(heat_step(token.bits))
        return self._style("rule") if token.ends else self.visual_style.rich_style

    def step_style(self, step: int) -> Style:
        """Return the style of a step of the colour scale."""
        return self._style(f"{'mono' if self.monochrome else 'heat'}-{step}")

    def _style(self, part: str) -> Style:
        return self.get_visual_style(f"token-view--{part}").rich_style

    # --- cursor -------------------------------------------------------------------------------------

    def watch_cursor(self) -> None:
        self.refresh()
        if self.cursor is not None:
            self.scroll_to_region(Region(0, self.token_layout.line_of(self.cursor), 1, 1), animate=False)
        self.post_message(self.CursorMoved(self, self.token))

    def action_step(self, direction: int) -> None:
        """Move to the next (1) or the previous (-1) token."""
        if self.cursor is not None:
            self.cursor = self.token_layout.neighbour(self.cursor, direction)
        else:
            self._move_to(self.token_layout.last() if direction < 0 else self.token_layout.first())

    def action_line(self, direction: int) -> None:
        """Move to the token above (-1) or below (1)."""
        if self.cursor is None:
            self._move_to(self.token_layout.last())
        elif place := self.token_layout.vertical_neighbour(self.cursor, direction):
            self.cursor = place

    def action_edge(self, is_last: bool) -> None:
        """Move to the first or the last token."""
        self._move_to(self.token_layout.last() if is_last else self.token_layout.first())

    def on_click(self, event: Click) -> None:
        offset = content_offset(event, self)
        place = self.token_layout.place_at(offset.x, offset.y + self.scroll_offset.y) if offset else None
        if place is not None:
            self.cursor = place

    def _move_to(self, place: Place | None) -> None:
        """Move the cursor, or show that there is no token."""
        if place is None:
            self.notify("No tokens yet. Press enter to generate.")
        else:
            self.cursor = place
