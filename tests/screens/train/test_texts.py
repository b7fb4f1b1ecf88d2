"""The texts about a run, from events that another version or a damaged file may contain."""

from pathlib import Path

from builders import make_run

from engines.runs.watch import WatchedRun
from screens.shared.guard_table import render_guards
from screens.train.status_text import render_phases
from screens.train.tab_texts import render_events


def test_an_unknown_action_and_an_activity_without_progress_are_shown(tmp_path: Path) -> None:
    watch = WatchedRun(make_run(tmp_path))
    alert = {"rule": "spike", "step": 3, "action": "shrug", "value": 1.0, "threshold": None, "hint": "so it goes"}
    phase = {"t": 1.0, "kind": "phase", "phase": "data", "activity": "reading", "done": None, "total": None}
    watch.history.apply([{"t": 1.0, "kind": "guard", **alert}, phase])
    assert "? spike" in render_guards(watch, ascii=False).plain
    assert "(reading 0 characters)" in render_phases(watch, ascii=False).plain


def test_a_note_is_among_the_events(tmp_path: Path) -> None:
    watch = WatchedRun(make_run(tmp_path))
    watch.history.apply([{"t": 1.0, "kind": "note", "message": "1 file used, 3 skipped."}])
    assert "00:00:01  Note: 1 file used, 3 skipped." in render_events(watch).plain
