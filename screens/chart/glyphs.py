"""The characters of a drawing: braille and box drawing, or ASCII; and dashes for terminals without colours."""

from typing import NamedTuple

from screens.chart.raster import ASCII, BRAILLE, Charset


class GlyphSet(NamedTuple):
    """The characters of a drawing."""

    charset: Charset
    bar: str
    tick: str
    rule: str
    rule_tick: str
    corner: str
    level: str
    cross: str
    dots: str  # one per series of dots, in turn
    lines: str  # one per line, if the charset cannot distinguish lines
    warn: str
    error: str


DASHES = ((1, 0), (6, 2), (2, 2), (4, 4), (8, 4), (1, 3), (3, 1), (2, 6))  # dots on, dots off, per line, in turn
UNICODE_GLYPHS = GlyphSet(BRAILLE, "│", "┤", "─", "┬", "└", "┈", "┊", "●◆○◇", "", "▲", "✕")
ASCII_GLYPHS = GlyphSet(ASCII, "|", "+", "-", "+", "+", ".", ":", "o@&$", "*+#%=~x^", "!", "x")
