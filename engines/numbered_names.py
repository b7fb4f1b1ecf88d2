"""Parse the numbers in file names, folder names and short option words.

`str.isdigit` and `\\d` accept superscripts and digits of other scripts, and `int` refuses more than 4,300 digits. A
folder may hold names that the program did not write, so every number in a name is parsed here.
"""

import re

MAX_DIGITS = 20  # 2**64 has twenty digits: no step, timestamp in nanoseconds or run number is longer

_NUMBER = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}")


def parse_number(text: str) -> int | None:
    """Return the number that consists of 1 to 20 ASCII digits; None for any other text."""
    return int(text) if _NUMBER.fullmatch(text) else None


def parse_numbered(name: str, prefix: str) -> int | None:
    """Return the number after a prefix, such as 7 for `step-00000007` and `step-`; None for any other name."""
    return parse_number(name.removeprefix(prefix)) if name.startswith(prefix) else None
