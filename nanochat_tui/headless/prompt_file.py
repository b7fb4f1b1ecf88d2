"""Reads the prompt of `sample` from a file or from stdin."""

import sys
from typing import BinaryIO

from engines.errors import SettingsError, UserError
from engines.files import open_file, reason_of, user_path

_LONGEST = 1 << 22  # bytes; more than any model's context


def read_prompt(name: str, settings: dict[str, object]) -> str:
    """Read a file, or stdin for `-`, without a trailing newline. Raises UserError if it is not text."""
    if "prompt" in settings:
        raise SettingsError(["--prompt and --prompt-file exclude each other; give one of them."])
    if name == "-":
        return _text(_stdin(), "stdin")
    path = user_path(name, "prompt file")
    with open_file(path, "prompt file") as file:
        return _text(file, f"prompt file {path}")


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise UserError("the prompt cannot be read from stdin: it is closed. Give --prompt or --prompt-file FILE.")
    return sys.stdin.buffer


def _text(file: BinaryIO, what: str) -> str:
    try:
        content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise UserError(f"{what} is longer than {_LONGEST >> 20} MiB. Give a shorter prompt.")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{what} cannot be read: {reason_of(error)}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not UTF-8 text: byte {error.start} is wrong. Convert it to UTF-8.") from None
    return text.removesuffix("\n").removesuffix("\r")
