"""The question before a deed: named on its button, answered by a key, whole at every size."""

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest
from textual.app import App

from screens.widgets.confirm import ConfirmScreen


class AskingApp(App[None]):
    CSS_PATH = str(Path(__file__).parents[3] / "screens" / "app.tcss")
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (60, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (18, "-low"), (30, "-high")]

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[bool | None] = []

    def on_mount(self) -> None:
        self.push_screen(ConfirmScreen("Stop breezy-sparrow [after] a checkpoint?", "stop"), self.answers.append)

    def seen(self) -> str:
        strips = self.screen._compositor.render_strips(self.size)
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


def answer(*keys: str, size: tuple[int, int] = (80, 24)) -> tuple[str, list[bool | None]]:
    """What was seen, and what was answered with these keys."""

    async def ask() -> tuple[str, list[bool | None]]:
        app = AskingApp()
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            seen = app.seen()
            await pilot.press(*keys)
            await pilot.pause()
            return seen, app.answers

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("keys", "sure"),
    [
        (["y"], True),
        (["n"], False),
        (["escape"], False),
        (["enter"], False),  # the cautious answer has the focus
        (["left", "enter"], True),
        (["tab", "enter"], True),
    ],
)
def test_keys_answer(keys: list[str], sure: bool) -> None:
    assert answer(*keys)[1] == [sure]


@pytest.mark.parametrize("size", [(20, 5), (60, 15), (80, 24), (200, 60)])
def test_question_and_answers_are_whole_at_every_size(size: tuple[int, int]) -> None:
    seen, answers = answer("y", size=size)
    words = " ".join(seen.replace("│", " ").split())
    assert "Stop breezy-sparrow [after] a checkpoint?" in words
    assert "stop (y)" in words and "no (n)" in words and answers == [True]
