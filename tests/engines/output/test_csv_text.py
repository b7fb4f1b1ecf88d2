"""CSV: any text is read back, with any line ends."""

import csv
import io

from hypothesis import example, given
from hypothesis import strategies as st

from engines.output.csv_text import write_csv

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@given(st.lists(st.tuples(TEXT, TEXT)))
@example([("a\rb", "\r"), ("a\nb", "a\r\nb"), ('"', ","), ("", " ")])
def test_any_text_is_read_back(rows: list[tuple[str, str]]) -> None:
    file = io.StringIO(newline="")
    write_csv(file, ("one", "two"), rows)
    assert [tuple(row) for row in csv.reader(io.StringIO(file.getvalue(), newline=""))] == [("one", "two"), *rows]


def test_a_lone_carriage_return_is_quoted_and_rows_end_with_a_line_feed() -> None:
    file = io.StringIO(newline="")
    write_csv(file, ("text",), [("a\rb",), ("c",)])
    assert file.getvalue() == 'text\n"a\rb"\nc\n'
