"""Shows text token by token as it is drawn: shaded by surprisal where asked, with a cursor that walks over tokens."""

import dataclasses
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

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
from screens.widgets.wrapping import GrowingLines, Piece

HEAT_BITS = (1, 2, 4, 8)  # surprisals at which the next step of the scale begins
PROMPT = -1
_END_MARK = "■"  # of a document that ended


class ShownToken(NamedTuple):
    """A token as the view wants it. Probabilities are the model's own."""

    text: str
    probability: float
    alternatives: Sequence[tuple[str, float]] = ()
    ends: bool = False  # the document ends with it, and it has no text of its own

    @property
    def bits(self) -> float:
        """Surprisal: −log2 p."""
        return -math.log2(self.probability) if self.probability > 0 else math.inf


def heat_step(bits: float) -> int:
    """0, expected, to 4, a surprise."""
    return bisect_right(HEAT_BITS, bits)


@dataclasses.dataclass
class _Sample:
    """One text: its tokens, and its lines at the present width."""

    lines: GrowingLines
    tokens: list[ShownToken] = dataclasses.field(default_factory=list)


class Place(NamedTuple):
    """A token: the sample it is in, and its number there."""

    sample: int
    token: int


class TokenView(ScrollView, can_focus=True):
    """Text of one or more samples, one below the other, each behind the prompt."""

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
        Binding("left", "step(-1)", "Token before", id="tokens.left", tooltip="The token before", show=False),
        Binding("right", "step(1)", "Next token", id="tokens.right", tooltip="The next token", show=False),
        Binding("up", "line(-1)", "Line above", id="tokens.up", tooltip="The token above", show=False),
        Binding("down", "line(1)", "Line below", id="tokens.down", tooltip="The token below", show=False),
        Binding("home", "edge(False)", "First token", id="tokens.home", tooltip="The first token", show=False),
        Binding("end", "edge(True)", "Last token", id="tokens.end", tooltip="The last token", show=False),
        Binding("pageup", "page_up", "Page up", id="tokens.page_up", tooltip="A page up", show=False),
        Binding("pagedown", "page_down", "Page down", id="tokens.page_down", tooltip="A page down", show=False),
    ]

    heat: reactive[bool] = reactive(False)
    monochrome: reactive[bool] = reactive(False)
    ascii: reactive[bool] = reactive(False)
    cursor: reactive[Place | None] = reactive(None)

    @dataclasses.dataclass
    class CursorMoved(Message):
        """The cursor stands on another token, or on none."""

        token_view: "TokenView"
        token: ShownToken | None

        @property
        def control(self) -> "TokenView":
            return self.token_view

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._prompt = ""
        self._samples: list[_Sample] = []
        self._tops: list[int] = []  # the view's line at which each sample begins

    # --- what is shown ----------------------------------------------------------------------------

    def begin(self, prompt: str, count: int) -> None:
        """Forget what was there; `count` samples will go on from the prompt."""
        self._prompt = prompt
        self._samples = [_Sample(self._begun()) for _ in range(count)]
        self.cursor = None
        self._arrange()
        self.scroll_home(animate=False)

    def extend(self, sample: int, tokens: Sequence[ShownToken]) -> None:
        """More tokens of one sample."""
        at_end = self.scroll_offset.y >= self.max_scroll_y - 1
        into = self._samples[sample]
        into.lines.extend(
            Piece(self._text(token), number) for number, token in enumerate(tokens, start=len(into.tokens))
        )
        into.tokens.extend(tokens)
        self._arrange()
        if at_end and len(self._samples) == 1 and self.cursor is None:
            self.scroll_end(animate=False, immediate=True)

    @property
    def token(self) -> ShownToken | None:
        """The one under the cursor."""
        return self._samples[self.cursor.sample].tokens[self.cursor.token] if self.cursor else None

    def _text(self, token: ShownToken) -> str:
        return ("#" if self.ascii else _END_MARK) if token.ends else token.text

    def _begun(self) -> GrowingLines:
        lines = GrowingLines(self._width)
        lines.extend([Piece(self._prompt, PROMPT)])
        return lines

    @property
    def _width(self) -> int:
        return max(1, self.size.width - 2)  # the scrollbar takes a column, and a newline may hang over the edge

    def _arrange(self) -> None:
        """Find where each sample begins, and how high all is."""
        self._tops, height = [], 0
        for sample in self._samples:
            height += len(self._samples) > 1  # the rule above it
            self._tops.append(height)
            height += len(sample.lines.lines)
        self.virtual_size = Size(self.size.width, height)
        self.refresh()

    def on_resize(self, event: Resize) -> None:
        if self._samples and self._samples[0].lines.width != self._width:
            for sample in self._samples:
                sample.lines = self._begun()
                sample.lines.extend(Piece(self._text(token), n) for n, token in enumerate(sample.tokens))
        self._arrange()

    # --- drawing ----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        base = self.visual_style.rich_style
        found = self._find_line(y + self.scroll_offset.y)
        if found is None:
            return Strip.blank(self.size.width, base)
        sample, number = found
        if number < 0:
            segments = [Segment(self._rule(sample), self._style("rule"))]
        else:
            segments = [
                Segment(piece.text, self._style_of(sample, piece.owner))
                for piece in self._samples[sample].lines.lines[number]
            ]
        return Strip(segments).extend_cell_length(self.size.width, base).crop(0, self.size.width)

    def _rule(self, sample: int) -> str:
        dash = "-" if self.ascii else "─"
        return f"{dash * 2} {sample + 1} {dash * self.size.width}"[: self.size.width]

    def _find_line(self, y: int) -> tuple[int, int] | None:
        """The sample and its line (-1: its rule) at a line of the view."""
        ruled = len(self._samples) > 1
        sample = bisect_right(self._tops, y + ruled) - 1
        if sample < 0:
            return None
        number = y - self._tops[sample]
        return (sample, number) if number < len(self._samples[sample].lines.lines) else None

    def _style_of(self, sample: int, owner: int) -> Style:
        if self.cursor == (sample, owner):
            return self._style("cursor")
        if owner == PROMPT:
            return self._style("prompt")
        token = self._samples[sample].tokens[owner]
        if self.heat:
            return self.step_style(heat_step(token.bits))
        return self._style("rule") if token.ends else self.visual_style.rich_style

    def step_style(self, step: int) -> Style:
        """How a step of the surprisal scale looks."""
        return self._style(f"{'mono' if self.monochrome else 'heat'}-{step}")

    def _style(self, part: str) -> Style:
        return self.get_visual_style(f"token-view--{part}").rich_style

    def watch_heat(self) -> None:
        self.refresh()

    watch_monochrome = watch_heat

    # --- the cursor -------------------------------------------------------------------------------

    def watch_cursor(self) -> None:
        self.refresh()
        if self.cursor is not None:
            line = self._tops[self.cursor.sample] + self._samples[self.cursor.sample].lines.line_of(self.cursor.token)
            self.scroll_to_region(Region(0, line, 1, 1), animate=False)
        self.post_message(self.CursorMoved(self, self.token))

    def action_step(self, by: int) -> None:
        last = self._last_place()
        if last is None:
            self._say_nothing_is_there()
        elif self.cursor is None:
            self.cursor = last if by < 0 else self._first_place()
        else:
            self.cursor = self._beside(self.cursor, by)

    def action_line(self, by: int) -> None:
        if self._last_place() is None:
            self._say_nothing_is_there()
        elif self.cursor is None:
            self.action_step(-1)
        else:
            x, y = self._cell_of(self.cursor)
            goal = y + by
            while 0 <= goal < self.virtual_size.height:
                place = self._place_at(x, goal)
                if place is not None and place != self.cursor:
                    self.cursor = place
                    return
                goal += by

    def action_edge(self, last: bool) -> None:
        place = self._last_place() if last else self._first_place()
        if place is None:
            self._say_nothing_is_there()
        else:
            self.cursor = place

    def on_click(self, event: Click) -> None:
        offset = content_offset(event, self)
        place = self._place_at(offset.x, offset.y + self.scroll_offset.y) if offset else None
        if place is not None:
            self.cursor = place

    def _say_nothing_is_there(self) -> None:
        self.notify("There are no tokens yet: enter draws some.")

    def _first_place(self) -> Place | None:
        return next((Place(i, 0) for i, sample in enumerate(self._samples) if sample.tokens), None)

    def _last_place(self) -> Place | None:
        spoken = [(i, sample) for i, sample in enumerate(self._samples) if sample.tokens]
        return Place(spoken[-1][0], len(spoken[-1][1].tokens) - 1) if spoken else None

    def _beside(self, place: Place, by: int) -> Place:
        """The next token in that direction, in the next sample where one ends; the same where there is none."""
        number = place.token + by
        if 0 <= number < len(self._samples[place.sample].tokens):
            return Place(place.sample, number)
        sample = place.sample + by
        while 0 <= sample < len(self._samples):
            if count := len(self._samples[sample].tokens):
                return Place(sample, 0 if by > 0 else count - 1)
            sample += by
        return place

    def _cell_of(self, place: Place) -> tuple[int, int]:
        lines = self._samples[place.sample].lines
        number = lines.line_of(place.token)
        x = 0
        for piece in lines.lines[number]:
            if piece.owner == place.token:
                break
            x += Segment(piece.text).cell_length
        return x, self._tops[place.sample] + number

    def _place_at(self, x: int, y: int) -> Place | None:
        """The token at a cell of the view, or the last one before it on its line."""
        found = self._find_line(y)
        if found is None or found[1] < 0:
            return None
        sample, number = found
        place, start = None, 0
        for piece in self._samples[sample].lines.lines[number]:
            if start > x and place is not None:
                break
            if piece.owner != PROMPT:
                place = Place(sample, piece.owner)
            start += Segment(piece.text).cell_length
        return place
