"""The inputs, copying and saving, and small terminals."""

import shlex
from pathlib import Path

import pytest
from builders import finished_run
from sample_screen import open_sample_screen
from textual.events import Paste
from textual.widgets import Input, Static

from nanochat_tui.cli import main
from screens.widgets.footer import AppFooter
from screens.widgets.token_view import TokenView


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
async def test_pasted_line_breaks_are_kept_in_the_prompt(ends: str, results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.press("e", "x", "y", "left")
        pilot.screen.query_one("#prompt", Input).post_message(Paste(ends.join(("one", "", "two", ""))))
        await pilot.wait_until(lambda: "two" in pilot.screen.prompt.value)
        assert pilot.screen.prompt.value == "xone\n\ntwo\ny"
        shown = "".join(segment.text for segment in pilot.screen.prompt.render_line(0))
        assert "xone↵↵two↵y" in shown


async def test_an_invalid_setting_is_reported_while_it_is_typed_and_prevents_generating(results: Path) -> None:
    wrong = {
        ("temperature", "-1"): "Temperature must be at least 0, not -1.0.",
        ("top_k", "x"): "Top k must be a whole number, not 'x'.",
        ("top_p", "1.5"): "Top p must be at most 1, not 1.5.",
        ("seed", "-1"): "Seed must be at least 0, not -1.",
        ("max_new_tokens", "-1"): "Max new tokens must be at least 0, not -1.",
    }
    async with open_sample_screen(results) as pilot:
        line = pilot.screen.query_one("#problem", Static)
        for (name, value), problem in wrong.items():
            await pilot.set(name, value)
            assert line.display and str(line.content) == problem
            await pilot.press("escape", "enter")
            assert problem in pilot.app.toasts and pilot.pane().request is None
            assert pilot.screen.focused is pilot.screen.query_one(f"#setting-{name} Input")
            await pilot.set(name, "")  # the default
            assert not line.display, name
        await pilot.generate()


async def test_a_focused_input_takes_printable_keys_and_escape_leaves_it(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.press("e", *"hbnyw")
        assert pilot.screen.prompt.value == "hbnyw" and not pilot.app.toasts
        assert "esc Back" in pilot.screen_text()
        await pilot.press("escape", "h")
        assert isinstance(pilot.screen.focused, TokenView) and pilot.pane().view.heat


async def test_copying_is_confirmed(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.press("y", "w")
        assert ["No text to copy" in pilot.app.toasts[0], "No text to save" in pilot.app.toasts[1]] == [True, True]
        await pilot.generate()
        await pilot.press("y")
        assert pilot.app.copied == pilot.text() and f"Copied {len(pilot.text())} characters" in pilot.app.toasts[-1]


async def test_a_text_is_saved_with_the_command_that_generates_it_again(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_sample_screen(results) as pilot:
        pilot.write_prompt("the dog ")
        await pilot.generate()
        await pilot.press("w")
        await pilot.wait_until(lambda: "Saved as " in pilot.app.toasts[-1])
        await pilot.press("w")
        await pilot.wait_until(lambda: len(pilot.app.toasts) == 2)
        saved = [Path(message.removeprefix("Saved as ")) for message in pilot.app.toasts]
    assert len(set(saved)) == 2 and all(path.parent.name == "samples" for path in saved)
    command, text = saved[0].read_text().split("\n", 1)
    words = shlex.split(command.removeprefix("# "))
    assert main([*words[1:], "--results-dir", str(results)]) == 0
    assert capsys.readouterr().out == text


async def test_a_run_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    (run.path / "samples").write_text("not a folder")
    async with open_sample_screen(tmp_path / "results") as pilot:
        await pilot.generate()
        await pilot.press("w")
        await pilot.wait_for_toast("cannot be written (File exists)")


async def test_a_terminal_of_80_by_24_shows_all_essential_parts(results: Path) -> None:
    async with open_sample_screen(results, size=(80, 24)) as pilot:
        pilot.write_prompt("the ")
        await pilot.generate()
        text = pilot.screen_text()
        for words in ("Temp 0.8", "Top k 0", "Top p 1.0", "Tokens 200", "Seed 1337", "the ", "mini-gpt", "tok/s"):
            assert words in text
        for label in ("Generate", "Stop", "Edit", "Model", "Compare", "Heat", "Copy", "Save"):
            assert label in text.splitlines()[-1]
        assert "Alternatives" not in text
        await pilot.press("right")
        await pilot.pause()
        assert "Alternatives" in pilot.screen_text() and "all others" in pilot.screen_text()


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (40, 10), (59, 17), (110, 16), (99, 30)])
async def test_no_terminal_is_too_small(results: Path, size: tuple[int, int]) -> None:
    async with open_sample_screen(results, size=size) as pilot:
        await pilot.generate()
        await pilot.press("b")
        await pilot.wait_until_generated("second")
        await pilot.press("h", "right", "c")
        await pilot.pause()


async def test_every_key_has_a_tooltip(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        for key, (_, binding, _, tooltip) in pilot.screen.active_bindings.items():
            if (binding.id or "").startswith(("sample.", "tokens.")):
                assert tooltip and binding.description, key
        assert pilot.screen.query_one(AppFooter)
