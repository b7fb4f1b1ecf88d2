"""Read the prompt of `sample` from a file or from stdin."""

import sys
from typing import BinaryIO

from engines.errors import SettingsError, UserError
from engines.files import format_os_error, open_file, user_path

MAX_BYTES = 1 << 22  # more than any model's context


def read_prompt(name: str, settings: dict[str, object]) -> str:
    """Return the text of a file, or of stdin for `-`, without a trailing newline.

    Raises SettingsError if --prompt is given too, and UserError if the file is not UTF-8 text.
    """
    if "prompt" in settings:
        raise SettingsError(["--prompt and --prompt-file are mutually exclusive; use one of them."])
    if name == "-":
        return _read_text(_open_stdin(), "stdin")
    path = user_path(name, "prompt file")
    with open_file(path, "prompt file") as file:
        return _read_text(file, f"prompt file {path}")


def _open_stdin() -> BinaryIO:
    if sys.stdin is None:
        raise UserError("the prompt cannot be read: stdin is closed. Use --prompt or --prompt-file FILE.")
    return sys.stdin.buffer


def _read_text(file: BinaryIO, what: str) -> str:
    """Return the text of a file. `what` names the file in errors."""
    try:
        content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(f"{what} is longer than {MAX_BYTES >> 20} MiB. Use a shorter prompt.")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{what} cannot be read: {format_os_error(error)}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not UTF-8 text: byte {error.start} is invalid. Convert it to UTF-8.") from None
    return text.removesuffix("\n").removesuffix("\r")
