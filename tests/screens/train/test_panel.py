"""The panel of a run: which measurements it shows in which state."""

import json
from pathlib import Path

from app_pilot import hold_lock
from builders import make_run
from recordings import RUNS

from engines import events
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from screens.train.panel import render_panel


def panel_rows(watch: WatchedRun) -> dict[str, str]:
    watch.poll()
    return {line.plain[:8].strip(): line.plain[8:].strip() for line in render_panel(watch, ascii=False)}


def append_at_the_end(run: Run, *found: dict[str, object]) -> None:
    with run.events_path.open("ab") as log:
        for fields in found:
            log.write(events.encode({"v": 1, "t": 3700.0, **fields}))


def test_a_run_that_has_ended_shows_its_mean_throughput_and_its_duration() -> None:
    run = next(run for run in RUNS if run.id == "finished")
    found = panel_rows(watch := WatchedRun(run))
    rate = json.loads(run.summary_path.read_text())["tokens_per_second"]
    assert abs(float(found["tok/s"].replace(",", "")) - rate) <= 1 and found["Time"] == "00:00:00"
    assert "ETA" not in found
    watch.history.last_t = 3700.0
    assert panel_rows(watch)["Time"] == "01:01:40"


def test_a_paused_run_shows_neither_throughput_nor_eta(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    columns = {name: [0.5, 0.5] for name in ("losses", "lr", "seconds", "grad_norms")}
    append_at_the_end(run, {"kind": "phase", "phase": "train", "done": None, "total": None},
           {"kind": "steps", "first_step": 1, "tokens": 16, **columns})  # fmt: skip
    watch = WatchedRun(run)
    with hold_lock(run):
        found = panel_rows(watch)
        assert found["tok/s"] == "16" and found["ETA"] == "00:00:09"
        append_at_the_end(run, {"kind": "control", "request": "1-pause.json", "verb": "pause", "outcome": "done"})
        found = panel_rows(watch)
        assert watch.state == "paused" and found["tok/s"] == found["ETA"] == "–"
