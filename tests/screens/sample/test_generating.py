"""Generating text with a real sampling process."""

import json
import shutil
from pathlib import Path

import pytest
from sample_screen import open_sample_screen, sampling_process

from nanochat_tui.cli import main


async def test_the_text_is_that_of_the_command_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--prompt", "the ", "--max-new-tokens", "30", "--temperature", "0.9", "--seed", "7"]
    async with open_sample_screen(results) as pilot:
        pilot.write_prompt("the ")
        for name, value in (("max_new_tokens", 30), ("temperature", 0.9), ("seed", 7)):
            await pilot.set(name, value)
        await pilot.press("e", "enter")
        await pilot.wait_until_generated()
        shown = pilot.text(), [token.probability for token in pilot.pane().tokens]
        assert "Done" in pilot.status() and "tok/s" in pilot.status() and "bits/token" in pilot.status()
        assert pilot.text().splitlines()[0].rstrip() in pilot.screen_text()
    assert main(["--no-ui", "--json", "sample", "last", "--results-dir", str(results), *words]) == 0
    *tokens, done = map(json.loads, capsys.readouterr().out.splitlines())
    assert shown == (done["text"], [token["probability"] for token in tokens])


async def test_the_status_shows_the_phase_until_the_first_token_and_then_the_speed(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        statuses: list[str] = []
        pilot.screen.watch(pilot.pane(), "status", lambda status: statuses.append(status), init=False)
        await pilot.generate_endlessly()
        assert statuses[0].startswith("Starting the sampling process… 0.0 s")
        await pilot.wait_until(
            lambda: len([status for status in statuses if status[0] == "●" and "tok/s" in status]) > 2
        )


async def test_the_status_shows_that_a_checkpoint_is_loading(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.generate_endlessly()
        process = sampling_process()
        process.suspend()
        await pilot.press("enter")
        assert pilot.status().startswith("Waiting for the sampling process… ")
        pilot.pane().show_replies([{"kind": "loading"}])
        assert pilot.status().startswith("Loading ") and "step 20…" in pilot.status()
        before = pilot.status()
        await pilot.wait_until(lambda: pilot.status() != before)  # the time is updated
        process.resume()
        await pilot.wait_until(lambda: pilot.pane().tokens)


async def test_stopping_keeps_the_text(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.generate_endlessly()
        await pilot.press("x")
        await pilot.wait_until_generated()
        assert "Stopped" in pilot.status() and len(pilot.text()) > 50
        await pilot.generate_endlessly()
        await pilot.press("escape")
        await pilot.wait_until_generated()
        assert "Stopped" in pilot.status()


async def test_enter_again_generates_the_same_text_and_the_next_seed_another(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.generate()
        first, process = pilot.text(), sampling_process()
        await pilot.generate()
        assert pilot.text() == first and sampling_process() == process
        await pilot.press("n")
        await pilot.wait_until_generated()
        assert pilot.text() != first
        assert pilot.screen.settings.values["seed"] == 1338


async def test_enter_while_generating_starts_again(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.generate_endlessly()
        await pilot.set("max_new_tokens", 3)
        await pilot.generate()
        assert len(pilot.pane().tokens) == 3
        await pilot.pause(0.1)
        assert len(pilot.pane().tokens) == 3


async def test_read_only_mode_generates_and_copies_but_does_not_save(results: Path) -> None:
    async with open_sample_screen(results, readonly=True) as pilot:
        await pilot.generate()
        await pilot.press("w", "y")
        assert pilot.text() and "Read-only mode" in pilot.app.toasts[0] and pilot.app.copied == pilot.text()


async def test_the_process_exits_with_the_app(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.generate_endlessly()
        process = sampling_process()
    assert not process.is_running()


async def test_a_killed_process_is_reported_and_the_next_request_starts_another(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.generate_endlessly()
        process = sampling_process()
        process.kill()
        await pilot.wait_until_generated()
        assert "was killed by SIGKILL" in pilot.status() and len(pilot.text()) > 50
        await pilot.set("max_new_tokens", 3)
        await pilot.generate()
        assert len(pilot.pane().tokens) == 3 and sampling_process() != process


async def test_an_error_of_the_sampling_process_is_shown(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        pilot.write_prompt("q€")
        await pilot.generate()
        assert "€" in pilot.status() and pilot.status().endswith(".") and pilot.pane().has_class("-failed")


async def test_the_error_about_a_deleted_checkpoint_suggests_another(results: Path, tmp_path: Path) -> None:
    run_path = next((results / "runs").iterdir())
    own = tmp_path / "own" / "runs" / run_path.name
    shutil.copytree(run_path, own)
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({**config, "checkpoints": str(own / "checkpoints")}))
    async with open_sample_screen(tmp_path / "own") as pilot:
        checkpoint = pilot.pane().checkpoint
        assert checkpoint
        shutil.rmtree(checkpoint.path)
        await pilot.generate()
        assert "Use another checkpoint" in pilot.status()


async def test_zero_new_tokens_are_not_an_error(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.set("max_new_tokens", 0)
        await pilot.generate()
        assert "max new tokens is 0" in pilot.status()
