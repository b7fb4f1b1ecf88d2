"""Fields: sizes and durations in every notation, invalid numbers refused, errors that name their source."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import SettingsError
from engines.settings.fields import AUTO, Field, fields, format_default, parse_settings
from engines.settings.train import TrainSettings


def field(kind: str, default: object = 0, **limits: object) -> Field:
    return Field("some_name", "group", kind, default, "help", **limits)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=50)
@given(hours=st.integers(0, 99), minutes=st.integers(0, 99), seconds=st.integers(0, 99))
def test_a_time_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int) -> None:
    found = field("duration").parse(f"{hours}h{minutes}m{seconds}S")
    assert found == 3600 * hours + 60 * minutes + seconds


@settings(deadline=None, max_examples=50)
@given(number=st.integers(0, 10**6), unit=st.sampled_from(["", "k", "M", "g"]), ending=st.sampled_from(["", "b", "B"]))
def test_a_size_is_exact(number: int, unit: str, ending: str) -> None:
    times = {"": 1, "k": 10**3, "M": 10**6, "g": 10**9}[unit]
    assert field("size").parse(f"{number}{unit}{ending}") == number * times


@pytest.mark.parametrize(
    ("kind", "raw"),
    [("size", "infk"), ("size", "1e999M"), ("duration", "1e308h"), ("int", "1e400"), ("float", "1e400"),
     ("float", 10**400), ("int", "9" * 5000)],
)  # fmt: skip
def test_excessive_sizes_are_refused_with_a_sentence(kind: str, raw: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        field(kind).parse(raw)


def test_auto_is_valid_only_if_it_is_the_default() -> None:
    assert field("int", AUTO).parse("auto") == AUTO
    with pytest.raises(ValueError, match="a whole number, not 'auto'"):
        field("int", 5).parse("auto")
    with pytest.raises(ValueError, match="a whole number or auto, not 'x'"):
        field("int", AUTO).parse("x")


@pytest.mark.parametrize("raw", [None, "none", ""])
def test_none_is_valid_only_for_optional_settings(raw: object) -> None:
    assert field("int", None, optional=True).parse(raw) is None
    with pytest.raises(ValueError, match="must be"):
        field("int").parse(raw)


def test_a_choice_is_one_of_those_listed() -> None:
    choice = field("str", "a", choices=("a", "b"))
    assert choice.parse("b") == "b" and choice.metavar == "a|b"
    for raw in ("c", "A", 1):
        with pytest.raises(ValueError, match="must be one of a, b, not"):
            choice.parse(raw)


def test_errors_name_the_flag_or_the_key_in_a_file() -> None:
    for source, shown in (("", "--batch-size must"), ("a.toml", "a.toml: batch_size must")):
        with pytest.raises(SettingsError) as error:
            parse_settings(TrainSettings, {"batch_size": 0}, source)
        assert error.value.problems[0].startswith(shown)


def test_fields_are_listed_in_declaration_order() -> None:
    assert list(fields(TrainSettings))[:2] == ["mode", "model_kind"]
    assert fields(TrainSettings)["lr_schedule"].flag == "--lr-schedule"


def test_a_default_is_formatted_as_typed() -> None:
    assert [format_default(field("x", default)) for default in (None, AUTO, "", 0.5)] == ["", "", "", "0.5"]
    assert format_default(field("bool", True)) == "true"


@pytest.mark.parametrize("kind", ["int", "size"])
def test_a_number_of_hundreds_of_digits_is_refused(kind: str) -> None:
    field = Field(name="steps", group="training", kind=kind, default=1, help="")
    with pytest.raises(ValueError, match="must be a"):
        field.parse("9" * 400)
