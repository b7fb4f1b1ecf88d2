"""Comparing manifests: every setting once, the differences, and missing values."""

from typing import Any

import pytest

from engines.runs.comparison import MISSING, ComparisonLine, compare_settings, format_setting
from engines.settings.fields import fields
from engines.settings.train import TrainSettings


def config(**resolved: Any) -> dict[str, Any]:
    return {"resolved": resolved}


def lines(*configs: dict[str, Any]) -> dict[str, ComparisonLine]:
    return {setting.name: setting.line for setting in compare_settings(configs)}


def test_only_settings_with_different_values_differ() -> None:
    found = lines(config(lr=0.1, seed=1, depth=2), config(lr=0.3, seed=1, depth=2))
    assert [name for name, line in found.items() if line.differs] == ["lr"]
    assert found["lr"].values == ("0.1", "0.3")


def test_a_setting_that_a_manifest_lacks_differs_from_none() -> None:
    found = lines(config(val_data=None), config())
    assert found["val_data"].values == ("none", "–") and found["val_data"].differs


def test_settings_are_in_the_order_of_declaration_and_unknown_ones_last() -> None:
    declared = [name for name in fields(TrainSettings) if name in ("seed", "lr", "mode")]
    found = list(lines(config(zebra=1, seed=1), config(lr=1, mode="x", apple=2)))
    assert found == [*declared, "apple", "zebra", "commit", "sha256", "host"]
    assert lines(config(zebra=1))["zebra"].group == "other"


def test_origins_are_listed_with_short_hashes() -> None:
    found = lines({"code": {"commit": "c" * 40}, "facts": {"sha256": "f" * 64}, "hardware": {"host": "a"}}, {})
    assert found["commit"].values == ("c" * 12, "–") and found["sha256"].values == ("f" * 12, "–")
    assert found["host"].values == ("a", "–")


@pytest.mark.parametrize("odd", [None, 3, "text", [1], {"resolved": None}])
def test_a_section_of_another_type_counts_as_missing(odd: Any) -> None:
    found = lines({"resolved": odd, "code": odd, "facts": odd, "hardware": odd}, config(lr=1))
    assert found["lr"].values == ("–", "1")


@pytest.mark.parametrize(
    ("value", "words"), [(True, "true"), (None, "none"), (1e-5, "1e-05"), (MISSING, "–"), ("A", "A")]
)
def test_values_are_formatted_as_the_user_types_them(value: object, words: str) -> None:
    assert format_setting(value) == words
