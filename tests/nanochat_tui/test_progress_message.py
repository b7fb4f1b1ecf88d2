"""Progress messages: on stderr, only while something takes long, with its progress and the seconds so far."""

import pytest
from watched_stream import WatchedStream

from nanochat_tui.headless.progress_message import progress_message


def test_a_message_is_repeated_with_the_current_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = WatchedStream()
    monkeypatch.setattr("sys.stderr", stderr)
    progress = ["", "step 5"]
    with progress_message("exporting", lambda: progress[0], delay=0.0, interval=0.001):
        stderr.wait_for("exporting ...\n")
        progress.reverse()
        stderr.wait_for("exporting ... step 5\n")


def test_nothing_is_shown_before_the_delay(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_message("reading"):
        pass
    assert capsys.readouterr().err == ""
