"""What a run tells in words, of events that another version or a damaged file may hold."""

from pathlib import Path

from builders import make_run

from engines.runs.watch import WatchedRun
from screens.shared.guard_table import render_guards
from screens.train import told


def test_an_action_and_a_progress_that_are_not_known_are_shown_all_the_same(tmp_path: Path) -> None:
    watch = WatchedRun(make_run(tmp_path))
    trip = {"rule": "spike", "step": 3, "action": "shrug", "value": 1.0, "threshold": None, "hint": "so it goes"}
    phase = {"t": 1.0, "kind": "phase", "phase": "data", "activity": "reading", "done": None, "total": None}
    watch.history.apply([{"t": 1.0, "kind": "guard", **trip}, phase])
    assert "? spike" in render_guards(watch, ascii=False).plain
    assert "(reading 0 characters)" in told.phases(watch, ascii=False).plain


def test_a_note_is_among_the_news(tmp_path: Path) -> None:
    watch = WatchedRun(make_run(tmp_path))
    watch.history.apply([{"t": 1.0, "kind": "note", "message": "1 file used, 3 skipped."}])
    assert "00:00:01  note: 1 file used, 3 skipped." in told.news(watch).plain
