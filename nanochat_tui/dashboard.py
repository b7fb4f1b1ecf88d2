"""Open the dashboard on a new run, on an existing one, or on a screen."""

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
from engines.runs.liveness import is_lock_held
from engines.runs.lookup import find_run, list_unsorted_runs, resolve_results_dir
from engines.runs.store import Run
from engines.settings.requirements import flag_of
from engines.settings.user_config import read_user_config
from engines.training.create_run import create_run
from nanochat_tui.commands import PROGRAM, Options
from nanochat_tui.headless.lookup import results_of

SCREENS = {"": "train", "train": "train", "attach": "train", "resume": "train", "runs": "runs", "sample": "sample"}
# Seconds after which the UI thread interrupts a thread that reads files (Python's default is 5 ms).
SWITCH_INTERVAL = 0.0005
_FIND_TIMEOUT = 0.5  # seconds to wait for a run before the app opens without it


def reason_for_headless(name: str, options: Options | None) -> str | None:
    """Return None if the dashboard opens on this command, else the reason why it does not.

    The reason is empty for commands that never open it.
    """
    if name not in SCREENS or (options and (options.json or options.arguments.get("detach"))):
        return ""
    if name == "sample" and options and (reason := _reason_for_headless_sample(options)):
        return reason
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "stdin or stdout is not a terminal"
    if not sys.stderr.isatty():
        return "stderr, on which it is drawn, is not a terminal"
    if os.environ.get("TERM", "dumb") == "dumb":
        return "a terminal with TERM=dumb cannot show it"
    try:
        import textual  # noqa: F401
    except ImportError:
        return "the package textual is not installed"
    return None


def _reason_for_headless_sample(options: Options) -> str:
    """Return why the sample screen cannot do what these options of `sample` request; empty if it can."""
    given = [name for name in ("checkpoint", "mode", "model_kind", "prompt_file") if options.arguments[name]]
    if flags := ", ".join(map(flag_of, [*given, *options.settings])):
        return f"{flags} cannot be passed to the sample screen"
    if options.arguments["run"] and is_checkpoint(options.arguments["run"]):
        return "the sample screen shows runs, not checkpoint directories"
    return ""


def open_dashboard(name: str, options: Options | None, is_readonly: bool, is_ascii: bool) -> int:
    """Run the app until the user leaves it, print its last message, and return the exit code."""
    config = read_user_config()
    options = options or Options(False, {"results_dir": None, "config": None, "preset": None}, {})
    results = resolve_results_dir(options.arguments["results_dir"], config.results)
    options = options._replace(arguments={**options.arguments, "results_dir": str(results)})
    search = _start_thread(lambda: _find_run(name, options) or _only_running_run(name, results))
    reduce_terminal_traffic()
    sys.setswitchinterval(SWITCH_INTERVAL)
    from screens.app import DashboardApp
    from screens.settings import check_user_config

    check_user_config(config)
    gc.freeze()  # imported modules stay in memory, so collections can skip them
    with contextlib.suppress(TimeoutError):
        search.result(_FIND_TIMEOUT)
    run, pending = (search.result(), None) if search.done() else (None, search)
    is_ascii = is_ascii or config.charset == "ascii" or (config.charset == "auto" and not _can_draw_unicode())
    app = DashboardApp(results, SCREENS[name], run, is_readonly, is_ascii, pending, config)
    message = None
    try:
        message = app.run()
    except Exception as error:  # outside of its message loop: a terminal that cannot be set up, a failed shutdown
        from screens.crash import report_crash

        app.failure = app.failure or report_crash(error)
    if app.failure:
        print(f"{PROGRAM}: {app.failure}", file=sys.stderr)
        return 1
    if message:
        print(message)
    return app.return_code or 0


def reduce_terminal_traffic() -> None:
    """Paint fewer frames over SSH. Textual reads these variables when it is imported."""
    if os.environ.get("SSH_CONNECTION"):
        os.environ.setdefault("TEXTUAL_FPS", "15")
        os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")


def _can_draw_unicode() -> bool:
    term = os.environ.get("TERM", "")
    is_console = term == "linux" or term.startswith("vt")
    return locale.getpreferredencoding(False).lower().replace("-", "") == "utf8" and not is_console


# --- the run to show ----------------------------------------------------------------------------------


def _find_run(name: str, options: Options) -> Run | None:
    """Return the run that the command names or starts; None if it does neither."""
    if name == "train":
        return _start_run(options)
    if name == "resume":
        from nanochat_tui.headless.resume import resume_or_fork

        run, worker = resume_or_fork(options)
        if worker:
            _wait_in_background(worker)
        return run
    if name == "attach" or (name == "sample" and options.arguments["run"]):
        return find_run(options.arguments["run"], results_of(options))
    return None


def _start_run(options: Options) -> Run | None:
    """Start a run if settings were given."""
    from nanochat_tui.headless.given import collect_settings, print_warnings
    from nanochat_tui.headless.long_run import print_long_run

    given = collect_settings(options)
    if not given.settings:
        return None
    run = create_run(given.settings, results_of(options), given.origin)
    print_warnings(given.settings, run)  # visible when the dashboard is left
    _wait_in_background(launch(run))
    print_long_run(run)  # likewise
    return run


def _wait_in_background(worker: "subprocess.Popen[bytes]") -> None:
    """Wait for a worker, which would otherwise stay a zombie process after its end."""
    threading.Thread(target=worker.wait, daemon=True).start()


def _only_running_run(name: str, results: Path) -> Run | None:
    """Return the run to show first on the train screen if exactly one is running."""
    if name not in ("", "train"):
        return None
    running = [run for run in list_unsorted_runs(results) if is_lock_held(run.lock_path)]
    return running[0] if len(running) == 1 else None


def _start_thread(work: Callable[[], Run | None]) -> "Future[Run | None]":
    """Call `work` in a thread. Reading folders may hang: the app opens anyway, and shows the run when it is found."""
    future: Future[Run | None] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
