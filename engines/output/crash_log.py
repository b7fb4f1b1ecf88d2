"""Log the traceback of an unexpected exception to a file; the user sees one sentence."""

import datetime
import platform
import tempfile
import traceback
from pathlib import Path

from engines import __version__

_MAX_REASON = 200  # characters of the exception's text in the sentence


def describe_crash(error: BaseException, program: str, heading: str = "") -> str:
    """Log the traceback, and return a sentence with the reason and the path of the log.

    The name of the log begins with `program`, its text with `heading`. Values of local variables are not logged,
    because they may contain the user's text.
    """
    reason = " ".join(f"{type(error).__name__}: {error}".strip(": ").split())
    if len(reason) > _MAX_REASON:
        reason = f"{reason[: _MAX_REASON - 3]}..."
    log = _write_log(heading + "".join(traceback.format_exception(error)), program)
    return f"{reason}; " + (f"the traceback is in {log}" if log else "no log file could be written")


def _write_log(text: str, program: str) -> Path | None:
    """Write a new file in the user's state directory or the temporary directory; None if neither is writable."""
    import platformdirs

    now = datetime.datetime.now()
    versions = f"nanochat-tui {__version__}, Python {platform.python_version()}, {platform.platform()}"
    content = f"{versions}, {now.isoformat(timespec='seconds')}\n\n{text}"
    for folder in (Path(platformdirs.user_state_path("nanochat-tui")) / "crashes", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=folder, prefix=f"{program}-{now:%Y%m%d-%H%M%S}-", suffix=".log", delete=False,
                encoding="utf-8", errors="backslashreplace",
            ) as file:  # fmt: skip
                file.write(content)
        except OSError:
            continue
        return Path(file.name)
    return None
