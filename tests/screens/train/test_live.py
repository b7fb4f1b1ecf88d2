"""The live view of every recorded run, and its updates while a run is running."""

import os
import time
from pathlib import Path
from typing import Any

from app_pilot import ENDINGS, AppPilot, add_run, append_events, hold_lock, note_on_failure, open_dashboard
from textual.widgets import TabbedContent

from engines.runs.history import History, read_history
from engines.runs.store import Run
from screens.chart import Chart
from screens.train.panel import RunPanel
from screens.train.screen import TrainScreen

# the beginning of the banner for each ending
BANNERS = {
    "finished": "✔ FINISHED",
    "finished-stories": "✔ FINISHED",
    "resumed": "✔ FINISHED",
    "nonfinite-warned": "✔ FINISHED",
    "spikes-warned": "✔ FINISHED",
    "stopped": "■ STOPPED at step 73",
    "interrupted": "■ STOPPED at step 57",
    "terminated": "■ STOPPED at step 50",
    "halted-nonfinite": "▲ HALTED at step 2: nonfinite at step 2",
    "rolled-back": "▲ HALTED",
    "halted-spike": "▲ HALTED at step 52: spike at step 52",
    "killed": "† KILLED",
    "killed-in-a-line": "† KILLED",
    "paused-then-killed": "† KILLED",
    "crashed": "✖ CRASHED at step 29: RuntimeError: the model fell over",
    "crashed-segfault": "✖ CRASHED",
    "failed": "✖ CRASHED at step 0: --data /lab/text.txt does not exist",
}
STEPS = {"lr": 0.01, "seconds": 0.01, "grad_norms": 1.0}


def steps(first: int, losses: list[float], tokens_each: int = 8) -> dict[str, Any]:
    more = {name: [value] * len(losses) for name, value in STEPS.items()}
    tokens = tokens_each * (first + len(losses) - 1)
    return {"t": 0.1, "kind": "steps", "first_step": first, "losses": losses, "tokens": tokens, **more}


def panel_text(pilot: AppPilot) -> str:
    return pilot.screen.query_one(RunPanel).text


def panel_row(pilot: AppPilot, name: str) -> str:
    """Return the value after a label of the panel."""
    return next(line[8:] for line in panel_text(pilot).splitlines() if line.startswith(f"{name} "))


async def test_a_long_name_does_not_hide_the_loss_on_a_narrow_terminal(tmp_path: Path) -> None:
    run = add_run(tmp_path, "finished", "name-" * 20)
    async with open_dashboard(tmp_path, size=(60, 24), run=run) as pilot:
        await pilot.wait_for_text("name-na…", "loss ")


def test_every_recorded_ending_has_an_expected_banner() -> None:
    assert sorted(BANNERS) == ENDINGS


async def test_every_recorded_run_is_shown_as_recorded(tmp_path: Path) -> None:
    runs = [add_run(tmp_path, ending) for ending in ENDINGS]
    async with open_dashboard(tmp_path) as pilot:
        screen = pilot.screen
        assert isinstance(screen, TrainScreen)
        for run in runs:
            await screen.show_run(run)
            await pilot.wait_for_run(run)
            with note_on_failure(run.id):
                assert_shown_as_recorded(pilot, run)


def assert_shown_as_recorded(pilot: AppPilot, run: Run) -> None:
    history, expected = read_history(run), BANNERS[run.id]
    banner = pilot.text_of("#banner")
    assert banner.startswith(expected)
    assert "Press 3 to generate" in banner if "FINISHED" in banner else "Press r to resume" in banner
    assert expected.split(" at ")[0] in panel_row(pilot, "State")
    assert banner.split("  ")[0][:60] in pilot.screen_text()
    assert panel_row(pilot, "Step").startswith(f"{history.step:,} / ")
    assert history.best_eval is None or panel_row(pilot, "Best").endswith(f"@ {history.best_eval['step']:,}")
    assert_guards_shown(pilot, history)
    assert_samples_shown(pilot, history)
    assert_events_shown(pilot, history)
    log = run.log_path.read_text(errors="replace").rpartition("--- worker started")[2].strip()
    assert pilot.text_of("#log-text") == (log or "No output from the worker")
    assert not pilot.screen.query_one("#phases").display


async def test_control_characters_of_a_run_are_not_sent_to_the_terminal(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")
    evil = "a\x1b[31mred\x00\rb"
    run.log_path.write_text(evil)
    sample = {"prompt": evil, "text": evil}
    append_events(run, {"t": 9.0, "kind": "sample", "step": read_history(run).step, **sample})
    append_events(
        run,
        {"t": 9.1, "kind": "ended", "step": 1, "reason": "crashed", "exit_code": 1, "detail": evil, "traceback": None},
    )
    async with open_dashboard(tmp_path, run=run) as pilot:
        for part in ("#banner", "#samples-text", "#log-text", "#events-text"):
            text = pilot.text_of(part)
            assert "a␛[31mred␀␍b" in text and all(char.isprintable() or char == "\n" for char in text), part


def assert_guards_shown(pilot: AppPilot, history: History) -> None:
    """Check that each rule has its first and last step, its count, and its hint."""
    text = pilot.text_of("#guards-text")
    for rule, action in {(event["rule"], event["action"]) for event in history.guards}:
        alerts = [event for event in history.guards if (event["rule"], event["action"]) == (rule, action)]
        line = next(line.split() for line in text.splitlines() if f" {rule} " in line and line.endswith(action))
        assert line[2:5] == [f"{alerts[0]['step']:,}", f"{alerts[-1]['step']:,}", str(len(alerts))]
        assert alerts[-1]["hint"] in text
    assert ("No guard alerts" in text) == (not history.guards)


def assert_samples_shown(pilot: AppPilot, history: History) -> None:
    text = pilot.text_of("#samples-text")
    positions = [text.index(f"Step {event['step']:,}\n{event['text']}") for event in reversed(history.samples[-20:])]
    assert positions == sorted(positions)  # newest first
    assert ("No samples yet" in text) == (not history.samples)


def assert_events_shown(pilot: AppPilot, history: History) -> None:
    text = pilot.text_of("#events-text")
    assert text.count("Worker started: ") == len(history.runs)
    assert text.count(": validation loss ") == len(history.evals)
    assert text.count(": checkpoint of ") == len(history.checkpoints)
    assert text.count(": guard ") == len(history.guards)
    if history.ended:
        assert f"{history.ended['reason'].capitalize()} at step {history.ended['step']:,}" in text


async def test_a_key_opens_a_tab_and_when_pressed_again_focuses_it(tmp_path: Path) -> None:
    run = add_run(tmp_path, "crashed-segfault")
    async with open_dashboard(tmp_path, run=run) as pilot:
        for key, tab in (("g", "guards"), ("w", "events"), ("l", "log")):
            with note_on_failure(tab):
                await pilot.press(key)
                assert pilot.screen.query_one(TabbedContent).active == tab
                words = pilot.text_of(f"#{tab}-text").split()[:3]
                await pilot.wait_for_text(*words)
                await pilot.press(key)
                assert pilot.screen.focused and pilot.screen.query_one(f"#{tab}-text") in pilot.screen.focused.children
                await pilot.press("escape")
                assert isinstance(pilot.screen.focused, Chart)


async def test_a_log_longer_than_the_tab_can_be_scrolled(tmp_path: Path) -> None:
    run = add_run(tmp_path, "crashed-segfault")
    async with open_dashboard(tmp_path, size=(80, 24), run=run) as pilot:
        last = pilot.text_of("#log-text").splitlines()[-1].strip()
        await pilot.press("l")
        assert last not in pilot.screen_text()
        await pilot.press("l", "end")
        await pilot.wait_for_text(last)


# --- updates of a running run -----------------------------------------------------------------------


async def test_new_steps_are_shown_as_they_come(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")
    done = read_history(run).step
    with hold_lock(run):
        async with open_dashboard(tmp_path, run=run) as pilot:
            assert panel_row(pilot, "State") == "● RUNNING" and not pilot.screen.query_one("#banner").display
            append_events(run, steps(done + 1, [1.25, 0.75]))
            await pilot.wait_until(lambda: panel_row(pilot, "Step").startswith(f"{done + 2} / "))
            assert panel_row(pilot, "Loss") == "0.7500"
            append_events(run, {"t": 0.2, "kind": "sample", "step": done + 2, "prompt": "", "text": "a new word"})
            await pilot.wait_for_text("a new word")


async def test_pausing_and_resuming_are_shown(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")

    def control_event(verb: str) -> dict[str, Any]:
        return {"t": 0.2, "kind": "control", "request": "1.json", "verb": verb, "outcome": "done"}

    with hold_lock(run):
        async with open_dashboard(tmp_path, run=run) as pilot:
            append_events(run, control_event("pause"))
            await pilot.wait_for_text("‖ PAUSED  Press p to resume")
            assert panel_row(pilot, "State") == "‖ PAUSED" and panel_row(pilot, "tok/s") == "–"
            await pilot.press("p")
            await pilot.wait_until(lambda: list(run.control_dir.glob("*-resume.json")))
            append_events(run, control_event("resume"))
            await pilot.wait_until(
                lambda: panel_row(pilot, "State") == "● RUNNING" and not pilot.screen.query_one("#banner").display
            )


async def test_a_key_sends_its_request_to_the_worker(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")
    with hold_lock(run):
        async with open_dashboard(tmp_path, run=run) as pilot:
            for key, verb in (("p", "pause"), ("C", "checkpoint"), ("E", "evaluate"), ("V", "sample")):
                with note_on_failure(verb):
                    pilot.app.toasts.clear()
                    await pilot.press(key)
                    await pilot.wait_for_toast(f"requested: {run.id}")
                    (request,) = run.control_dir.iterdir()
                    assert request.name.split("-")[1] == f"{verb}.json"
                    request.unlink()


async def test_stopping_has_to_be_confirmed(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")
    with hold_lock(run):
        async with open_dashboard(tmp_path, run=run) as pilot:
            await pilot.press("S", "n")
            assert list(run.control_dir.iterdir()) == []
            await pilot.press("S")
            await pilot.wait_for_text(f"Stop {run.id} after a checkpoint?")
            await pilot.press("y")
            await pilot.wait_for_toast(f"Stop requested: {run.id}")
            assert len(list(run.control_dir.glob("*-stop.json"))) == 1


async def test_a_resumed_run_shows_no_step_that_was_dropped(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")
    done = read_history(run).step
    with hold_lock(run):
        async with open_dashboard(tmp_path, run=run) as pilot:
            append_events(run, steps(done + 1, [9.5] * 10))
            append_events(
                run, {"t": 0.2, "kind": "sample", "step": done + 10, "prompt": "", "text": "of another world"}
            )
            await pilot.wait_for_text("of another world")
            append_events(
                run, {"t": 0.3, "kind": "resumed", "from_step": done, "reason": "restarted"}, steps(done + 1, [1.5])
            )
            await pilot.wait_until(lambda: panel_row(pilot, "Step").startswith(f"{done + 1} / "))
            assert panel_row(pilot, "Loss") == "1.5000"
            assert "of another world" not in pilot.text_of("#samples-text")
            line = pilot.screen.query_one(Chart).data.lines["/loss"]
            assert line.last == done + 1 and line.value(done + 1) == 1.5 and line.value(done + 10) is None


async def test_a_guard_that_trips_is_shown_at_once(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")
    alert = {"rule": "spike", "step": 40, "action": "warn", "value": 9.0, "threshold": 8.0, "hint": "lower the rate"}
    with hold_lock(run):
        async with open_dashboard(tmp_path, run=run) as pilot:
            await pilot.press("g")
            await pilot.wait_for_text("No guard alerts")
            append_events(run, {"t": 0.2, "kind": "guard", **alert})
            await pilot.wait_for_text("▲ spike", "lower the rate")


async def test_the_phases_of_the_start_are_shown(tmp_path: Path) -> None:
    run = add_run(tmp_path, "failed", age=1)
    run.events_path.write_text("")
    (run.path / "summary.json").unlink()
    with hold_lock(run):
        async with open_dashboard(tmp_path, run=run) as pilot:
            await pilot.wait_for_text("STARTING", "○ import", "○ data", "○ model", "○ train")
            append_events(run, *({"t": t, "kind": "phase", "phase": phase, "done": None, "total": None}
                          for t, phase in ((0.0, "import"), (0.5, "data"))))  # fmt: skip
            await pilot.wait_for_text("✔ import 0.5 s", "● data")
            append_events(
                run, {"t": 0.7, "kind": "phase", "phase": "train", "done": None, "total": None}, steps(1, [3.0])
            )
            await pilot.wait_until(lambda: not pilot.screen.query_one("#phases").display)


async def test_a_run_without_heartbeat_is_shown_as_stuck(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")
    with hold_lock(run):
        async with open_dashboard(tmp_path, run=run) as pilot:
            os.utime(run.events_path, (time.time() - 11, time.time() - 11))
            await pilot.wait_for_text("? STUCK", "No heartbeat for 10 s")
