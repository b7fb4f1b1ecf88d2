"""The characters of a drawing: braille and lines, or plain ASCII; and dashes, where there are no colours."""

from typing import NamedTuple

from screens.chart.raster import ASCII, BRAILLE, Charset


class Look(NamedTuple):
    """The characters of a drawing."""

    charset: Charset
    bar: str
    tick: str
    rule: str
    rule_tick: str
    corner: str
    level: str
    cross: str
    dots: str  # one for each series of dots, in turn
    lines: str  # where the charset cannot tell lines apart
    warn: str
    error: str


DASHES = ((1, 0), (6, 2), (2, 2), (4, 4), (8, 4), (1, 3), (3, 1), (2, 6))  # dots on, dots off, for each line in turn
UNICODE = Look(BRAILLE, "│", "┤", "─", "┬", "└", "┈", "┊", "●◆○◇", "", "▲", "✕")
PLAIN = Look(ASCII, "|", "+", "-", "+", "+", ".", ":", "o@&$", "*+#%=~x^", "!", "x")
