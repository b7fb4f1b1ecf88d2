"""Numbers in names: ASCII digits of bounded length match, everything else is ignored."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engines.ablation import study
from engines.checkpoints.folders import list_steps
from engines.numbered_names import MAX_DIGITS, parse_number, parse_numbered
from engines.runs.control import Inbox

FOREIGN = ["²", "٣", "１２", "-1", "+1", "1_0", " 1", "1\n", "1.0", "", "٣" * 5, "1" * (MAX_DIGITS + 1)]


@given(st.integers(0, 10**MAX_DIGITS - 1))
def test_every_number_of_up_to_twenty_digits_is_parsed(number: int) -> None:
    assert parse_number(str(number)) == number
    assert parse_numbered(f"step-{number:08d}", "step-") == number


@given(st.text(max_size=30))
@example("9" * 5000)
@example("²")
def test_only_ascii_digits_match_and_nothing_raises(text: str) -> None:
    is_number = 0 < len(text) <= MAX_DIGITS and set(text) <= set("0123456789")
    assert (parse_number(text) is not None) == is_number


@pytest.mark.parametrize("number", FOREIGN)
def test_foreign_names_are_ignored_as_checkpoints_requests_and_studies(number: str, tmp_path: Path) -> None:
    (tmp_path / f"step-{number}").mkdir()
    checkpoint = tmp_path / "step-00000007"
    checkpoint.mkdir()
    assert list_steps(tmp_path) == [7]
    control = tmp_path / "control"
    control.mkdir()
    (control / f"{number}-stop.json").write_text("{}")
    assert Inbox(control, since_ns=0).next() is None
    studies = tmp_path / "studies"
    (studies / f"study-{number}").mkdir(parents=True)
    assert study._claim_name(studies).name == "study-1"


def test_a_checkpoint_name_that_is_padded_differently_or_is_a_file_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "step-7").mkdir()
    (tmp_path / "step-00000008").write_text("")
    assert list_steps(tmp_path) == []
    assert list_steps(tmp_path / "step-00000008") == []
