"""doctor: check what this machine has, and whether training works on it."""

from collections.abc import Iterable

from engines.system.doctor import FAIL, OK, WARN, Check, Finding, list_checks, run_check
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import results_of
from nanochat_tui.headless.progress_message import progress_message
from nanochat_tui.streams import can_repaint, print_json

_GLYPHS = {OK: "✔", WARN: "▲", FAIL: "✖"}
_PLAIN_INTERVAL = 10.0  # seconds between messages where one cannot be painted over another


def doctor(options: Options) -> int:
    """Print one line per check. Return 1 if a check fails."""
    return print_findings(list_checks(results_of(options), options.arguments["device"]), options.json)


def print_findings(todo: Iterable[Check], as_json: bool) -> int:
    """Run the checks and print what they find. Return 1 if one fails."""
    interval = 1.0 if can_repaint() else _PLAIN_INTERVAL
    findings = []
    for check in todo:
        with progress_message(f"checking {check.name}", delay=0.0, interval=interval):
            finding = run_check(check)
        if finding is None:
            continue
        findings.append(finding)
        if not as_json:
            print(_format(finding), flush=True)
    if as_json:
        print_json([finding._asdict() for finding in findings], indent=1)
    return int(any(finding.status == FAIL for finding in findings))


def _format(finding: Finding) -> str:
    return f"{_GLYPHS[finding.status]} {finding.status.upper():<4}  {finding.check:<16}  {finding.detail}"
