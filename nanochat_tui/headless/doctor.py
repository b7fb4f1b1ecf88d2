"""doctor: what this machine has, and whether training works on it."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator

from engines.runs.lookup import results_dir
from engines.system.doctor import FAIL, OK, WARN, Check, Finding, checks, examine
from nanochat_tui.commands import Options
from nanochat_tui.streams import can_repaint, print_json, repaint

_GLYPHS = {OK: "✔", WARN: "▲", FAIL: "✖"}
_WORD_INTERVAL = 10.0  # seconds between signs of life in a pipe; on a terminal every second


def doctor(options: Options) -> int:
    """A line for each check; 1 if something fails."""
    return tell(checks(results_dir(options.words["results_dir"]), options.words["device"]), options.json)


def tell(todo: Iterable[Check], as_json: bool) -> int:
    """Examine and print; returns the exit code."""
    findings = []
    for check in todo:
        with _sign_of_life(check.name):
            finding = examine(check)
        if finding is None:
            continue
        findings.append(finding)
        if not as_json:
            print(_line(finding), flush=True)
    if as_json:
        print_json([finding._asdict() for finding in findings], indent=1)
    return int(any(finding.status == FAIL for finding in findings))


def _line(finding: Finding) -> str:
    return f"{_GLYPHS[finding.status]} {finding.status.upper():<4}  {finding.check:<16}  {finding.detail}"


@contextlib.contextmanager
def _sign_of_life(name: str) -> Iterator[None]:
    """Meanwhile stderr says what is being checked, and for how long."""
    over = threading.Event()
    teller = threading.Thread(target=_tell_time, args=(name, over), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell_time(name: str, over: threading.Event) -> None:
    on_terminal = can_repaint()
    started = time.monotonic()
    while True:
        seconds = round(time.monotonic() - started)
        text = f"checking {name} ..." + (f" {seconds} s" if seconds else "")
        if on_terminal:
            repaint(text)
        else:
            print(text, file=sys.stderr, flush=True)
        if over.wait(1.0 if on_terminal else _WORD_INTERVAL):
            break
    if on_terminal:
        repaint("")
