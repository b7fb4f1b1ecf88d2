"""The token view: streams tokens, shades them by surprisal, and moves a cursor over them."""

import contextlib
import math
from collections.abc import AsyncIterator

from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from screens.widgets.token_layout import Place, ShownToken
from screens.widgets.token_view import HEAT_BITS, TokenView, heat_step


class ViewApp(App[None]):
    """A token view, and the tokens that its cursor was on."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[ShownToken | None] = []

    def compose(self) -> ComposeResult:
        yield TokenView()

    @on(TokenView.CursorMoved)
    def record_token(self, message: TokenView.CursorMoved) -> None:
        self.moved.append(message.token)


@contextlib.asynccontextmanager
async def open_view(size: tuple[int, int] = (22, 6)) -> AsyncIterator[tuple[Pilot[None], TokenView]]:
    app = ViewApp()
    async with app.run_test(size=size) as pilot:
        yield pilot, app.query_one(TokenView)


def tokens(*texts: str, probability: float = 0.5) -> list[ShownToken]:
    return [ShownToken(text, probability, [(text, probability)]) for text in texts]


def text_lines(view: TokenView) -> list[str]:
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


def style_at(view: TokenView, text: str, y: int = 0) -> object:
    return next(segment.style for segment in view.render_line(y) if segment.text == text)


async def test_prompt_and_tokens_are_wrapped_into_lines() -> None:
    async with open_view() as (_, view):
        view.begin("the ", 1)
        view.extend(0, tokens("quick", " brown"))
        view.extend(0, tokens(" fox", " jumps\n", "over"))
        assert text_lines(view)[:3] == ["the quick brown fox", "jumps", "over"]


async def test_markup_in_a_text_is_shown_as_text() -> None:
    async with open_view() as (_, view):
        view.begin("[red]", 1)
        view.extend(0, tokens("[/]", "\x1b[1m"))
        assert text_lines(view)[0] == "[red][/]␛[1m"


async def test_several_samples_are_shown_below_each_other() -> None:
    async with open_view() as (_, view):
        view.begin("a", 2)
        view.extend(1, tokens("second"))
        view.extend(0, tokens("first"))
        shown = text_lines(view)
        assert [shown[1], shown[3]] == ["afirst", "asecond"] and shown[0].startswith("── 1 ─")
        view.ascii = True
        assert text_lines(view)[2].startswith("-- 2 -")


async def test_the_view_follows_the_stream_until_it_is_scrolled_or_the_cursor_moves() -> None:
    async with open_view() as (pilot, view):
        view.focus()
        view.begin("", 1)
        for i in range(20):
            view.extend(0, tokens(f"{i}\n"))
            await pilot.pause()
        assert view.scroll_offset.y == view.max_scroll_y > 0
        await pilot.press("home")
        view.extend(0, tokens("more\n" * 5))
        await pilot.pause()
        assert view.scroll_offset.y == 0 and text_lines(view)[0] == "0"


async def test_lines_are_wrapped_again_at_another_width() -> None:
    async with open_view() as (pilot, view):
        view.begin("the ", 1)
        view.extend(0, tokens("quick", " brown"))
        await pilot.resize_terminal(12, 6)
        await pilot.pause()
        assert text_lines(view)[:2] == ["the quick", "brown"]
        await pilot.resize_terminal(1, 1)
        await pilot.pause()
        assert len(text_lines(view)) == 1


async def test_the_cursor_moves_over_every_token_and_reports_it() -> None:
    async with open_view() as (pilot, view):
        view.focus()
        view.begin("p", 1)
        view.extend(0, tokens("a", "", "b\n", "c"))  # one token is a part of a character
        for _ in range(6):
            await pilot.press("right")
        await pilot.press("up", "down", "left", "home", "end")
        visited = [token.text for token in view.app.moved if token]  # type: ignore[attr-defined]
    assert visited == ["a", "", "b\n", "c", "a", "c", "b\n", "a", "c"]


async def test_the_cursor_moves_on_into_the_next_sample() -> None:
    async with open_view(size=(22, 8)) as (pilot, view):
        view.focus()
        view.begin("p", 3)
        view.extend(0, tokens("a"))
        view.extend(2, tokens("z"))
        await pilot.press("right", "right")
        assert view.cursor == Place(2, 0)
        await pilot.press("left")
        assert view.cursor == Place(0, 0)
        await pilot.press("down")
        assert view.cursor == Place(2, 0)


async def test_a_click_moves_the_cursor_to_a_token() -> None:
    async with open_view() as (pilot, view):
        view.begin("the ", 1)
        view.extend(0, tokens("quick", " brown"))
        await pilot.click(TokenView, offset=(6, 0))
        assert view.cursor == Place(0, 0)
        await pilot.click(TokenView, offset=(20, 0))
        assert view.cursor == Place(0, 1)


async def test_keys_explain_that_there_are_no_tokens() -> None:
    async with open_view() as (pilot, view):
        toasts: list[str] = []
        view.notify = lambda message, **_: toasts.append(message)  # type: ignore[method-assign]
        view.focus()
        for key in ("right", "down", "end"):
            await pilot.press(key)
        assert len(toasts) == 3 and "No tokens" in toasts[0] and view.cursor is None


def test_surprisal_is_in_bits_and_its_shades_begin_at_the_bounds_of_the_scale() -> None:
    assert ShownToken("a", 0.25).bits == 2.0
    assert ShownToken("a", 0.0).bits == math.inf
    assert [heat_step(bits) for bits in (0, 0.99, *HEAT_BITS, math.inf)] == [0, 0, 1, 2, 3, 4, 4]


async def test_shades_differ_also_without_colours() -> None:
    async with open_view() as (_, view):
        view.begin("", 1)
        for i, probability in enumerate((0.9, 0.4, 0.2, 0.05, 0.001)):
            view.extend(0, tokens(str(i), probability=probability))
        assert len({str(style_at(view, str(i))) for i in range(5)}) == 1
        view.heat = True
        assert len({style_at(view, str(i)).bgcolor for i in range(5)}) == 5
        view.monochrome = True
        attributes = [
            (style.bold, style.underline, style.italic) for style in (style_at(view, str(i)) for i in range(5))
        ]
        assert len(set(map(str, attributes))) == 5


async def test_the_end_of_a_document_is_visible() -> None:
    async with open_view() as (_, view):
        view.begin("x", 1)
        view.extend(0, [ShownToken("", 0.5, (), ends=True)])
        assert text_lines(view)[0] == "x■"
