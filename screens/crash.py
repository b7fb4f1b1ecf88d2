"""Reports an unexpected exception: a traceback in a log file, and one sentence for the user."""

import textual
from textual.worker import WorkerFailed

from engines.output.crash_log import describe_crash
from engines.output.terminal_text import visible_line


def report_crash(error: BaseException) -> str:
    """Write the traceback of an exception to a log file, and return the sentence for the user."""
    if isinstance(error, WorkerFailed):
        error = error.error
    description = describe_crash(error, "dashboard", f"textual {textual.__version__}\n\n")
    return f"the dashboard failed: {visible_line(description)}. Your runs continue."
