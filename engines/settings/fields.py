"""The declaration of one setting, and the parser of its flag, form field, and JSON or TOML value."""

import dataclasses
import functools
import math
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from engines.errors import SettingsError
from engines.settings.requirements import Requirement

AUTO: Any = "auto"  # a default that `settings.resolve` replaces before a run starts

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "size": "a size such as 500000, 10M or 1G",
    "duration": "a time such as 90s, 5m or 1h30m",
}
_MAX_CHARACTERS = 65_536  # of a text; half of what Linux allows for one argument
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60  # characters
_REPR.maxlevel = 2
_SIZE_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}
_DURATION_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclasses.dataclass(frozen=True)
class Field:
    """One declared setting. `kind` is a key of `_EXPECTED`; bounds are inclusive except `above`."""

    name: str
    group: str
    kind: str
    default: Any
    help: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    aliases: tuple[tuple[str, str], ...] = ()  # other names of a choice
    applies_when: tuple[Requirement, ...] = ()  # all must hold for the setting to have an effect

    @property
    def flag(self) -> str:
        """The command-line flag, such as --batch-size."""
        return "--" + self.name.replace("_", "-")

    @property
    def label(self) -> str:
        """The name in words, such as "batch size"."""
        return self.name.replace("_", " ")

    @property
    def metavar(self) -> str:
        """The placeholder of the value in help texts."""
        return "|".join(self.choices) or {"bool": "true|false", "str": "TEXT", "int": "N", "float": "X"}.get(
            self.kind, self.kind.upper()
        )

    def parse(self, raw: object) -> Any:
        """Return the value of a typed string or of a JSON or TOML value. Raises ValueError with the expected values."""
        if raw == AUTO and self.default is AUTO:
            return AUTO
        raw = next((word for alias, word in self.aliases if raw == alias), raw)
        if self.optional and (raw is None or raw in ("none", "")):
            return None
        try:
            value = _PARSERS[self.kind](raw)
        except (TypeError, ValueError, OverflowError):
            expected = f"one of {', '.join(self.choices)}" if self.choices else _EXPECTED[self.kind]
            raise ValueError(f"must be {expected}{self._or_auto()}, not {format_bad_value(raw)}") from None
        self._check(value)
        return value

    def _check(self, value: Any) -> None:
        if self.choices and value not in self.choices:
            raise ValueError(
                f"must be one of {', '.join(self.choices)}{self._or_auto()}, not {format_bad_value(value)}"
            )
        if self.kind == "str":
            _check_text(value)
        if self.at_least is not None and not value >= self.at_least:
            raise ValueError(f"must be at least {_bound(self.at_least)}, not {format_bad_value(value)}")
        if self.above is not None and not value > self.above:
            raise ValueError(f"must be greater than {_bound(self.above)}, not {format_bad_value(value)}")
        if self.at_most is not None and not value <= self.at_most:
            raise ValueError(f"must be at most {_bound(self.at_most)}, not {format_bad_value(value)}")

    def _or_auto(self) -> str:
        return " or auto" if self.default is AUTO else ""


def setting(group: str, kind: str, default: Any, help: str, **limits: Any) -> Any:
    """Declare a setting as a dataclass field. `limits` are further attributes of `Field`."""
    return dataclasses.field(default=default, metadata={"group": group, "kind": kind, "help": help, **limits})


def format_bad_value(value: object) -> str:
    """Format a bad value for an error message: control characters escaped, shortened to about 60 characters."""
    try:
        return _REPR.repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; deep nesting
        return f"a very long {type(value).__name__}"


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the most similar known name, if there is one."""
    import difflib

    similar = difflib.get_close_matches(name[:60], known, n=1)
    return f"; did you mean {similar[0]}?" if similar else "."


def format_default(field: Field) -> str:
    """Return the default as a user would type it; an empty string for `auto` and no default."""
    if field.default is None or field.default is AUTO or field.default == "":
        return ""
    return str(field.default).lower() if field.kind == "bool" else str(field.default)


@functools.cache
def fields(settings: type) -> dict[str, Field]:
    """Return the settings that a dataclass declares, by name, in order."""
    return {
        field.name: Field(name=field.name, default=field.default, **field.metadata)
        for field in dataclasses.fields(settings)
    }


def parse_settings(settings: type, raw: Mapping[str, object], source: str = "") -> dict[str, Any]:
    """Parse every value of `raw`. Raises SettingsError with all problems. `source` is the name of the file, if any."""
    known = fields(settings)
    values: dict[str, Any] = {}
    problems: list[str] = []
    where = f"{source}: " if source else ""
    for name, value in raw.items():
        if name not in known:
            problems.append(f"{where}unknown setting {format_bad_value(name)}{suggest_name(name, known)}")
            continue
        title = name if source else known[name].flag
        try:
            values[name] = known[name].parse(value)
        except ValueError as error:
            problems.append(f"{where}{title} {error}.")
    if problems:
        raise SettingsError(problems)
    return values


def find_unchanged(settings: type, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return the names of the parsed `defaults` that `given` repeats, as parsed values or as text."""
    known = fields(settings)
    return [name for name, value in defaults.items() if name in given and known[name].parse(given[name]) == value]


def _bound(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _check_text(value: str) -> None:
    if "\0" in value:
        raise ValueError(f"must be text without the character NUL, not {format_bad_value(value)}")
    if len(value) > _MAX_CHARACTERS:
        raise ValueError(f"must be at most {_MAX_CHARACTERS:,} characters long, not {len(value):,}")


def _parse_bool(raw: object) -> bool:
    if not isinstance(raw, str | int):
        raise TypeError
    word = str(raw).strip().lower()
    if word not in _BOOLEANS:
        raise ValueError
    return _BOOLEANS[word]


def _ascii(raw: object) -> str:
    """Return the text of a number. Raises ValueError for digits of other scripts, which Python would accept."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise TypeError
    text = str(raw).strip()
    if not text.isascii():
        raise ValueError
    return text


def _parse_int(raw: object) -> int:
    value = _whole_number(raw)
    float(value)  # raises OverflowError for hundreds of digits: arithmetic on settings uses floats
    return value


def _whole_number(raw: object) -> int:
    if isinstance(raw, float):
        raise TypeError
    text = _ascii(raw)
    if "e" in text.lower():  # int() does not accept 1e6
        value = float(text)
        if not value.is_integer():
            raise ValueError
        return int(value)
    return int(text)


def _parse_float(raw: object) -> float:
    value = float(_ascii(raw))
    if not math.isfinite(value):
        raise ValueError
    return value


def _parse_str(raw: object) -> str:
    if not isinstance(raw, str):
        raise TypeError
    return raw


def _parse_size(raw: object) -> int:
    text = _ascii(raw).lower().removesuffix("b")
    unit = _SIZE_UNITS.get(text[-1:])
    return round(float(text[:-1]) * unit) if unit else _parse_int(text)


def _parse_duration(raw: object) -> float:
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return _parse_float(raw)
    text = _ascii(raw).lower()
    if text[-1:] not in _DURATION_UNITS:
        return _parse_float(text)
    seconds, digits = 0.0, ""
    for character in text:
        if character in _DURATION_UNITS:
            seconds += _parse_float(digits) * _DURATION_UNITS[character]
            digits = ""
        else:
            digits += character
    return _parse_float(seconds)  # raises ValueError if the sum is infinite


_PARSERS = {
    "int": _parse_int,
    "float": _parse_float,
    "bool": _parse_bool,
    "str": _parse_str,
    "size": _parse_size,
    "duration": _parse_duration,
}
