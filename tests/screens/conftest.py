"""A rule for all tests of the dashboard: no file is read or written on the thread that handles keys.

Style sheets are parsed once for all apps that the tests open: it would be a tenth of their time.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from blocked_io import watched_io
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

_parse = Stylesheet._parse_rules
_parsed: dict[tuple[Any, ...], list[RuleSet]] = {}


def _parse_once(sheet: Stylesheet, css: str, **how: Any) -> list[RuleSet]:
    """As Textual's own cache does for one app, until its theme changes."""
    key = (css, *how.values(), *sheet._variables.items())
    if key not in _parsed:
        _parsed[key] = _parse(sheet, css, **how)
    return _parsed[key]


@pytest.fixture(autouse=True)
def sheets_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stylesheet, "_parse_rules", _parse_once)


@pytest.fixture(autouse=True)
def the_ui_thread_touches_no_file() -> Iterator[None]:
    """Reading, locking and launching may take forever on a network drive: none of it keeps a key waiting."""
    with watched_io() as blocking:
        yield
    assert not blocking, f"{len(blocking)} blocking calls on the UI thread, the first:\n{blocking[0]}"
