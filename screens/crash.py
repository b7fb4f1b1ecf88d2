"""Reports an unexpected exception: a traceback in a log file, and one sentence for the user."""

import datetime
import platform
import tempfile
import traceback
from pathlib import Path

import textual
from textual.worker import WorkerFailed

from engines import __version__
from screens.widgets.wrapping import shown

_MAX_REASON = 200  # characters of an exception's text in the sentence; the log has all of it


def report_crash(error: BaseException) -> str:
    """Write the traceback of an exception to a log file; return what the user should read.

    Values of local variables are never written: they may hold the user's text.
    """
    if isinstance(error, WorkerFailed):
        error = error.error
    reason = " ".join(shown(f"{type(error).__name__}: {error}".strip(": ")).split())
    if len(reason) > _MAX_REASON:
        reason = f"{reason[: _MAX_REASON - 3]}..."
    log = _write_log("".join(traceback.format_exception(error)))
    where = f"the traceback is in {shown(str(log))}" if log else "no log file could be written"
    return f"the dashboard failed: {reason}; {where}. Your runs continue."


def _write_log(text: str) -> Path | None:
    """A new file in the user's state folder, or in the folder for temporary files; None where neither is writable."""
    import platformdirs

    now = datetime.datetime.now()
    heading = f"nanochat-tui {__version__}, textual {textual.__version__}, Python {platform.python_version()}"
    content = f"{heading}, {platform.platform()}, {now.isoformat(timespec='seconds')}\n\n{text}"
    prefix = f"dashboard-{now:%Y%m%d-%H%M%S}-"
    for folder in (Path(platformdirs.user_state_path("nanochat-tui")) / "crashes", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=folder, prefix=prefix, suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
            ) as file:
                file.write(content)
        except OSError:
            continue
        return Path(file.name)
    return None
