"""The token view: streams, shades by surprisal, and has a cursor that walks over every token."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from screens.widgets.token_layout import Place, ShownToken
from screens.widgets.token_view import HEAT_BITS, TokenView, heat_step

Act = Callable[[Pilot[None], TokenView], Awaitable[None]]


class ViewApp(App[None]):
    """A view, and where its cursor was."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[ShownToken | None] = []

    def compose(self) -> ComposeResult:
        yield TokenView()

    @on(TokenView.CursorMoved)
    def note(self, message: TokenView.CursorMoved) -> None:
        self.moved.append(message.token)


def in_view(act: Act, size: tuple[int, int] = (22, 6)) -> ViewApp:
    app = ViewApp()

    async def scenario() -> None:
        async with app.run_test(size=size) as pilot:
            await act(pilot, app.query_one(TokenView))

    asyncio.run(scenario())
    return app


def tokens(*texts: str, probability: float = 0.5) -> list[ShownToken]:
    return [ShownToken(text, probability, [(text, probability)]) for text in texts]


def lines(view: TokenView) -> list[str]:
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


def style_at(view: TokenView, text: str, y: int = 0) -> object:
    return next(segment.style for segment in view.render_line(y) if segment.text == text)


def test_the_prompt_and_the_tokens_stand_in_lines() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
        view.begin("the ", 1)
        view.extend(0, tokens("quick", " brown"))
        view.extend(0, tokens(" fox", " jumps\n", "over"))
        assert lines(view)[:3] == ["the quick brown fox", "jumps", "over"]

    in_view(act)


def test_markup_in_a_text_is_text() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
        view.begin("[red]", 1)
        view.extend(0, tokens("[/]", "\x1b[1m"))
        assert lines(view)[0] == "[red][/]␛[1m"

    in_view(act)


def test_several_samples_stand_below_each_other_behind_the_prompt() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
        view.begin("a", 2)
        view.extend(1, tokens("second"))
        view.extend(0, tokens("first"))
        shown = lines(view)
        assert [shown[1], shown[3]] == ["afirst", "asecond"] and shown[0].startswith("── 1 ─")
        view.ascii = True
        assert lines(view)[2].startswith("-- 2 -")

    in_view(act)


def test_the_view_follows_the_stream_until_somebody_scrolls_or_walks() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
        view.focus()
        view.begin("", 1)
        for i in range(20):
            view.extend(0, tokens(f"{i}\n"))
            await pilot.pause()
        assert view.scroll_offset.y == view.max_scroll_y > 0
        await pilot.press("home")
        view.extend(0, tokens("more\n" * 5))
        await pilot.pause()
        assert view.scroll_offset.y == 0 and lines(view)[0] == "0"

    in_view(act)


def test_lines_are_laid_out_anew_for_another_width() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
        view.begin("the ", 1)
        view.extend(0, tokens("quick", " brown"))
        await pilot.resize_terminal(12, 6)
        await pilot.pause()
        assert lines(view)[:2] == ["the quick", "brown"]
        await pilot.resize_terminal(1, 1)
        await pilot.pause()
        assert len(lines(view)) == 1

    in_view(act)


def test_the_cursor_walks_over_every_token_and_says_where_it_is() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
        view.focus()
        view.begin("p", 1)
        view.extend(0, tokens("a", "", "b\n", "c"))  # one is a part of a character
        for _ in range(6):
            await pilot.press("right")
        await pilot.press("up", "down", "left", "home", "end")

    app = in_view(act)
    walked = [token.text for token in app.moved if token]
    assert walked == ["a", "", "b\n", "c", "a", "c", "b\n", "a", "c"]


def test_the_cursor_goes_on_into_the_next_sample() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
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

    in_view(act, size=(22, 8))


def test_a_click_puts_the_cursor_on_a_token() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
        view.begin("the ", 1)
        view.extend(0, tokens("quick", " brown"))
        await pilot.click(TokenView, offset=(6, 0))
        assert view.cursor == Place(0, 0)
        await pilot.click(TokenView, offset=(20, 0))
        assert view.cursor == Place(0, 1)

    in_view(act)


def test_without_tokens_the_keys_say_so() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
        said: list[str] = []
        view.notify = lambda message, **_: said.append(message)  # type: ignore[method-assign]
        view.focus()
        for key in ("right", "down", "end"):
            await pilot.press(key)
        assert len(said) == 3 and "no tokens" in said[0] and view.cursor is None

    in_view(act)


def test_surprisal_is_in_bits_and_its_steps_begin_where_the_scale_says() -> None:
    assert ShownToken("a", 0.25).bits == 2.0
    assert ShownToken("a", 0.0).bits == math.inf
    assert [heat_step(bits) for bits in (0, 0.99, *HEAT_BITS, math.inf)] == [0, 0, 1, 2, 3, 4, 4]


def test_shades_tell_surprises_apart_also_without_colours() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
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

    in_view(act)


def test_the_end_of_a_document_is_to_be_seen() -> None:
    async def act(pilot: Pilot[None], view: TokenView) -> None:
        view.begin("x", 1)
        view.extend(0, [ShownToken("", 0.5, (), ends=True)])
        assert lines(view)[0] == "x■"

    in_view(act)
