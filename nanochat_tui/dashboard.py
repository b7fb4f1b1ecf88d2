"""Opens the dashboard: on a new run, on one that is there, or on a screen."""

import contextlib
import gc
import locale
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from engines.checkpoints.folders import is_checkpoint
from engines.runs.launch import launch
from engines.runs.liveness import lock_is_held
from engines.runs.lookup import find_run, results_dir, unsorted_runs
from engines.runs.store import Run
from engines.settings.requirements import flag_of
from engines.training.create_run import create_run
from nanochat_tui.commands import PROGRAM, Options

SCREENS = {"": "train", "train": "train", "attach": "train", "resume": "train", "runs": "runs", "sample": "sample"}

# Seconds: a thread that reads files waits for the UI thread after each of them, 5 ms by default.
SWITCH_INTERVAL = 0.0005
_PATIENCE = 0.5  # seconds to wait for folders before the app opens


def why_not(name: str, options: Options | None) -> str | None:
    """Why a command goes on without the dashboard; empty where nobody would expect one, None where it opens."""
    if name not in SCREENS or (options and (options.json or options.words.get("detach"))):
        return ""
    if name == "sample" and options and (reason := _why_sample_is_headless(options)):
        return reason
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "this is no terminal"
    if not sys.stderr.isatty():
        return "it draws on stderr, which goes elsewhere"
    if os.environ.get("TERM", "dumb") == "dumb":
        return "TERM=dumb cannot show it"
    try:
        import textual  # noqa: F401
    except ImportError:
        return "the package textual is not here"
    return None


def _why_sample_is_headless(options: Options) -> str:
    """Return why `sample` with these options cannot open the sample screen, which would ignore them; or nothing."""
    given = [name for name in ("checkpoint", "mode", "model_kind", "prompt_file") if options.words[name]]
    if flags := ", ".join(map(flag_of, [*given, *options.settings])):
        return f"{flags} cannot be passed to the sample screen"
    if options.words["run"] and is_checkpoint(options.words["run"]):
        return "the sample screen shows runs, not folders of checkpoints"
    return ""


def open_dashboard(name: str, options: Options | None, readonly: bool, ascii: bool) -> int:
    """Run the app; what is still to be said when it is left goes to the shell."""
    results = results_dir(options.words["results_dir"] if options else None)
    found = _in_thread(lambda: _run(name, options) or (_only_live_run(results) if name in ("", "train") else None))
    _spare_the_wire()
    sys.setswitchinterval(SWITCH_INTERVAL)
    from screens.app import LabApp

    gc.freeze()  # modules stay: collections need not look at them
    with contextlib.suppress(TimeoutError):
        found.result(_PATIENCE)
    run = found.result() if found.done() else None
    pending = None if found.done() else found
    app = LabApp(results, SCREENS[name], run, readonly, ascii or not _draws_unicode(), pending)
    try:
        last_words = app.run()
    except Exception as error:  # outside of its message loop: a terminal that cannot be set up, a failed shutdown
        from screens.crash import report_crash

        app.failure = app.failure or report_crash(error)
    if app.failure:
        print(f"{PROGRAM}: {app.failure}", file=sys.stderr)
        return 1
    if last_words:
        print(last_words)
    return app.return_code or 0


def _spare_the_wire() -> None:
    """Over SSH every frame travels: fewer of them. Textual reads this when it is imported."""
    if os.environ.get("SSH_CONNECTION"):
        os.environ.setdefault("TEXTUAL_FPS", "15")
        os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")


def _run(name: str, options: Options | None) -> Run | None:
    """The run to show: a new one if settings were given."""
    if options is None:
        return None
    if name == "train":
        from nanochat_tui.headless.train import given_settings, warn_without_effect

        given = given_settings(options)
        if not given:
            return None
        run = create_run(given, results_dir(options.words["results_dir"]))
        warn_without_effect(given, run)  # read when the dashboard is left
        _reap(launch(run))
        return run
    if name == "resume":
        from nanochat_tui.headless.train import resume_or_fork

        run, worker = resume_or_fork(options)
        if worker:
            _reap(worker)
        return run
    if name == "attach" or (name == "sample" and options.words["run"]):
        return find_run(options.words["run"], results_dir(options.words["results_dir"]))
    return None


def _reap(worker: "subprocess.Popen[bytes]") -> None:
    """Wait for a worker in the background; else it would stay a zombie when it ends."""
    threading.Thread(target=worker.wait, daemon=True).start()


def _in_thread(work: Callable[[], Run | None]) -> "Future[Run | None]":
    """Search folders in a thread, since one may hang: the app opens anyway, and shows the run when it is found."""
    future: Future[Run | None] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _only_live_run(results: Path) -> Run | None:
    """Return the run to show first, if exactly one is running."""
    live = [run for run in unsorted_runs(results) if lock_is_held(run.lock_path)]
    return live[0] if len(live) == 1 else None


def _draws_unicode() -> bool:
    term = os.environ.get("TERM", "")
    return locale.getpreferredencoding(False).lower().replace("-", "") == "utf8" and not (
        term == "linux" or term.startswith("vt")
    )
