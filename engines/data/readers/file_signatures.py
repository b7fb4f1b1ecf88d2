"""Identify files that are not plain text by their first bytes."""

import codecs
import re

_TO_UTF_8 = "text; convert it to UTF-8: iconv -f UTF-{0} -t UTF-8"
_SIGNATURES = (
    (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "bzip2 data; decompress it with bunzip2"),
    (rb"PK(\x03\x04|\x05\x06)", "a zip archive or an office document; unpack it, or export its text"),
    (rb"\x1f\x8b", "gzip data; give it a name that ends in .gz"),
    (rb"\xfd7zXZ\x00", "xz data; give it a name that ends in .xz"),
    (rb"\x28\xb5\x2f\xfd", "zstd data; give it a name that ends in .zst"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (rb"Rar!\x1a\x07", "a rar archive; unpack it"),
    (rb"\xd0\xcf\x11\xe0", "an office document; export its text"),
    (rb"%PDF-", "a PDF document; extract its text, for example with pdftotext"),
    (rb"\{\\rtf", "an RTF document; export its text"),
    (rb"PAR1[\x00-\x1f]", "a Parquet file; give it a name that ends in .parquet"),
    (rb"ARROW1\x00", "an Arrow file; convert it to Parquet"),
    (rb"SQLite format 3\x00", "an SQLite database; export its text"),
    (rb"\x89HDF", "an HDF5 file; export its text"),
    (rb"\x93NUMPY", "a NumPy array; export its text"),
    (rb"\x7fELF", "a program"),
    (rb"\x89PNG", "a PNG image"),
    (rb"\xff\xd8\xff", "a JPEG image"),
    (rb".{257}ustar", "a tar archive; unpack it"),
    (re.escape(codecs.BOM_UTF32_LE) + b"|" + re.escape(codecs.BOM_UTF32_BE), "UTF-32 " + _TO_UTF_8.format(32)),
    (re.escape(codecs.BOM_UTF16_LE) + b"|" + re.escape(codecs.BOM_UTF16_BE), "UTF-16 " + _TO_UTF_8.format(16)),
)


def identify_format(start: bytes) -> str | None:
    """Return the format that begins with these bytes and how to convert it; None for text and unknown formats."""
    matches = (description for signature, description in _SIGNATURES if re.match(signature, start, re.DOTALL))
    return next(matches, None)
