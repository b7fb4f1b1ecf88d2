"""Text made safe for a terminal: control characters become visible, and symbols ASCII where that is wanted."""

import re

# C0 controls such as ESC and BEL, and DEL, have pictures in Unicode. Newlines and tabs are kept.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: 0x2421}
# C1 controls, bidirectional formatting, lone surrogates, and noncharacters that UTF-8 or XML cannot contain.
_UNSAFE = re.compile("[\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_ONE_LINE = {0x09: 0x2409, 0x0A: 0x240A}
_ASCII_SYMBOLS = str.maketrans({
    "·": "-", "–": "-", "…": "...", "×": "x", "±": "+-", "≥": ">=", "°": "",
    "●": "*", "▲": "!", "✕": "x", "▸": ">", "←": "<", "→": ">", "│": "|", "━": "#", "█": "#", "╌": ".",
})  # fmt: skip


def visible(text: str) -> str:
    """Replace every control character except newline and tab by a visible sign.

    C0 controls and DEL become their Unicode pictures (ESC is ␛). C1 controls, bidirectional formatting characters,
    lone surrogates and noncharacters become U+FFFD.
    """
    if text.isprintable():
        return text
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text.translate(_PICTURES))


def visible_line(text: str) -> str:
    """Replace control characters as `visible` does, and also newlines and tabs, by ␊ and ␉."""
    return visible(text).translate(_ONE_LINE)


def replace_symbols(text: str, ascii: bool) -> str:
    """Replace the symbols that the program itself writes with ASCII if `ascii` is set; leave other text as it is."""
    return text.translate(_ASCII_SYMBOLS) if ascii else text
