"""The tokens of a text: alternatives at the cursor, and shades of surprisal."""

import math
from pathlib import Path

import pytest
from sample_screen import open_sample_screen

from screens.sample.alternatives import Alternatives, list_candidates


async def test_the_cursor_shows_the_alternatives_and_their_probabilities_add_up_to_one(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.generate()
        for token in pilot.pane().tokens:
            candidates = list_candidates(token)
            assert math.isclose(sum(candidate.probability for candidate in candidates), 1.0)
            (sampled,) = [candidate for candidate in candidates if candidate.is_sampled]
            assert sampled.probability == token.probability
        await pilot.press("right", "right")
        alternatives = pilot.screen.query_one(Alternatives)
        assert "token 2" in str(alternatives.border_title)
        shown = str(alternatives.content)
        best, probability = pilot.pane().tokens[1].alternatives[0]
        assert f"{best!r}" in shown and f"{probability:.1%}" in shown and "all others" in shown and "▸" in shown
        await pilot.press("escape")
        assert "move over the tokens" in str(alternatives.content)


async def test_a_key_shades_the_text_and_shows_the_scale(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.generate()
        assert "Surprisal in bits" not in pilot.screen_text()
        await pilot.press("h")
        assert "Surprisal in bits:  <1   1–2   2–4   4–8   >8" in pilot.screen_text()
        await pilot.press("h")
        assert "Surprisal in bits" not in pilot.screen_text()


@pytest.mark.parametrize(("ascii", "no_color"), [(True, False), (False, True), (False, False)])
async def test_without_colours_shades_are_text_attributes(
    results: Path, ascii: bool, no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    async with open_sample_screen(results, ascii=ascii) as pilot:
        assert pilot.pane().view.monochrome == (ascii or no_color)


async def test_in_ascii_mode_all_characters_are_ascii(results: Path) -> None:
    async with open_sample_screen(results, ascii=True) as pilot:
        pilot.screen.add_class("-ascii")
        pilot.app.add_class("-ascii")
        await pilot.generate()
        await pilot.press("h", "b")
        await pilot.wait_until_generated("second")
        await pilot.press("right")
        await pilot.pause()
        body = pilot.screen_text().splitlines()[:-1]  # the footer belongs to the app
        assert not {character for line in body for character in line if ord(character) > 126}
