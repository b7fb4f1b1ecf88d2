"""The confirmation before an action: the button names the action, keys answer it, and it fits at every size."""

from pathlib import Path
from typing import ClassVar

import pytest
from textual.app import App
from textual_internals import screen_text

from screens.widgets.confirm import ConfirmScreen


class ConfirmApp(App[None]):
    CSS_PATH = str(Path(__file__).parents[3] / "screens" / "app.tcss")
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (60, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (18, "-low"), (30, "-high")]

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[bool | None] = []

    def on_mount(self) -> None:
        self.push_screen(ConfirmScreen("Stop breezy-sparrow [after] a checkpoint?", "Stop"), self.answers.append)


async def press_keys(*keys: str, size: tuple[int, int] = (80, 24)) -> tuple[str, list[bool | None]]:
    """Return the text on the screen before the keys are pressed, and the answers that they give."""
    app = ConfirmApp()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = screen_text(app)
        await pilot.press(*keys)
        await pilot.pause()
        return text, app.answers


@pytest.mark.parametrize(
    ("keys", "is_confirmed"),
    [
        (["y"], True),
        (["n"], False),
        (["escape"], False),
        (["enter"], False),  # the answer `no` has the focus
        (["left", "enter"], True),
        (["tab", "enter"], True),
    ],
)
async def test_keys_answer_the_question(keys: list[str], is_confirmed: bool) -> None:
    _, answers = await press_keys(*keys)
    assert answers == [is_confirmed]


@pytest.mark.parametrize("size", [(20, 5), (60, 15), (80, 24), (200, 60)])
async def test_question_and_answers_fit_at_every_size(size: tuple[int, int]) -> None:
    text, answers = await press_keys("y", size=size)
    words = " ".join(text.replace("│", " ").split())
    assert "Stop breezy-sparrow [after] a checkpoint?" in words
    assert "Stop (y)" in words and "Cancel (n)" in words and answers == [True]
