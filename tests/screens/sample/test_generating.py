"""Generating text with a real sampling process."""

import json
import shutil
from pathlib import Path

import pytest
from sample_screen import open_sample_screen, sampling_process

from nanochat_tui.cli import main


async def test_the_text_is_that_of_the_command_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--prompt", "the ", "--max-new-tokens", "30", "--temperature", "0.9", "--seed", "7"]
    async with open_sample_screen(results) as seat:
        seat.write_prompt("the ")
        for name, value in (("max_new_tokens", 30), ("temperature", 0.9), ("seed", 7)):
            await seat.set(name, value)
        await seat.press("e", "enter")
        await seat.wait_until_generated()
        shown = seat.text(), [token.probability for token in seat.pane().tokens]
        assert "Done" in seat.status() and "tok/s" in seat.status() and "bits/token" in seat.status()
        assert seat.text().splitlines()[0].rstrip() in seat.seen()
    assert main(["--no-ui", "--json", "sample", "last", "--results-dir", str(results), *words]) == 0
    *tokens, done = map(json.loads, capsys.readouterr().out.splitlines())
    assert shown == (done["text"], [token["probability"] for token in tokens])


async def test_the_status_shows_the_phase_until_the_first_token_and_then_the_speed(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        statuses: list[str] = []
        seat.screen.watch(seat.pane(), "status", lambda status: statuses.append(status), init=False)
        await seat.generate_endlessly()
        assert statuses[0].startswith("Starting the sampling process… 0.0 s")
        await seat.until(lambda: len([status for status in statuses if status[0] == "●" and "tok/s" in status]) > 2)


async def test_the_status_shows_that_a_checkpoint_is_loading(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        await seat.generate_endlessly()
        process = sampling_process()
        process.suspend()
        await seat.press("enter")
        assert seat.status().startswith("Waiting for the sampling process… ")
        seat.pane().show_replies([{"kind": "loading"}])
        assert seat.status().startswith("Loading ") and "step 20…" in seat.status()
        before = seat.status()
        await seat.until(lambda: seat.status() != before)  # the time is updated
        process.resume()
        await seat.until(lambda: seat.pane().tokens)


async def test_stopping_keeps_the_text(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        await seat.generate_endlessly()
        await seat.press("x")
        await seat.wait_until_generated()
        assert "Stopped" in seat.status() and len(seat.text()) > 50
        await seat.generate_endlessly()
        await seat.press("escape")
        await seat.wait_until_generated()
        assert "Stopped" in seat.status()


async def test_enter_again_generates_the_same_text_and_the_next_seed_another(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        await seat.generate()
        first, process = seat.text(), sampling_process()
        await seat.generate()
        assert seat.text() == first and sampling_process() == process
        await seat.press("n")
        await seat.wait_until_generated()
        assert seat.text() != first
        assert seat.screen.settings.values["seed"] == 1338


async def test_enter_while_generating_starts_again(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        await seat.generate_endlessly()
        await seat.set("max_new_tokens", 3)
        await seat.generate()
        assert len(seat.pane().tokens) == 3
        await seat.pilot.pause(0.1)
        assert len(seat.pane().tokens) == 3


async def test_read_only_mode_generates_and_copies_but_does_not_save(results: Path) -> None:
    async with open_sample_screen(results, readonly=True) as seat:
        await seat.generate()
        await seat.press("w", "y")
        assert seat.text() and "read-only mode" in seat.app.said[0] and seat.app.copied == seat.text()


async def test_the_process_exits_with_the_app(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        await seat.generate_endlessly()
        process = sampling_process()
    assert not process.is_running()


async def test_a_killed_process_is_reported_and_the_next_request_starts_another(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        await seat.generate_endlessly()
        process = sampling_process()
        process.kill()
        await seat.wait_until_generated()
        assert "was killed by SIGKILL" in seat.status() and len(seat.text()) > 50
        await seat.set("max_new_tokens", 3)
        await seat.generate()
        assert len(seat.pane().tokens) == 3 and sampling_process() != process


async def test_an_error_of_the_sampling_process_is_shown(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        seat.write_prompt("q€")
        await seat.generate()
        assert "€" in seat.status() and seat.status().endswith(".") and seat.pane().has_class("-failed")


async def test_the_error_about_a_deleted_checkpoint_suggests_another(results: Path, tmp_path: Path) -> None:
    run_path = next((results / "runs").iterdir())
    own = tmp_path / "own" / "runs" / run_path.name
    shutil.copytree(run_path, own)
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({**config, "checkpoints": str(own / "checkpoints")}))
    async with open_sample_screen(tmp_path / "own") as seat:
        checkpoint = seat.pane().checkpoint
        assert checkpoint
        shutil.rmtree(checkpoint.path)
        await seat.generate()
        assert "Use another checkpoint" in seat.status()


async def test_zero_new_tokens_are_not_an_error(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        await seat.set("max_new_tokens", 0)
        await seat.generate()
        assert "max new tokens is 0" in seat.status()
