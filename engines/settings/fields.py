"""How one setting is declared, and the one parser behind its flag, its form field and its JSON value."""

import dataclasses
import functools
import math
import reprlib
from collections.abc import Mapping
from typing import Any

from engines.errors import SettingsError
from engines.settings.requirements import Requirement

AUTO: Any = "auto"  # a default that `config.resolve` replaces before a run starts

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "size": "a size such as 500000, 10M or 1G",
    "duration": "a time such as 90s, 5m or 1h30m",
}
_MOST_CHARACTERS = 65_536  # of a text: half of what Linux allows for one argument
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60  # characters
_SHOWN.maxlevel = 2
_SIZE_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}
_DURATION_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclasses.dataclass(frozen=True)
class Field:
    """One declared setting. `kind` is a key of the table above; bounds are inclusive but for `above`."""

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
    aliases: tuple[tuple[str, str], ...] = ()  # other words for a choice
    applies_when: tuple[Requirement, ...] = ()  # all must hold, else the setting has no effect

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def label(self) -> str:
        return self.name.replace("_", " ")

    @property
    def metavar(self) -> str:
        """What stands behind the flag in help texts."""
        return "|".join(self.choices) or {"bool": "true|false", "str": "TEXT", "int": "N", "float": "X"}.get(
            self.kind, self.kind.upper()
        )

    def parse(self, raw: object) -> Any:
        """The value of what was typed (a string) or read (a JSON or TOML value); ValueError says what is wrong."""
        if raw == AUTO and self.default is AUTO:
            return AUTO
        raw = next((word for alias, word in self.aliases if raw == alias), raw)
        if self.optional and (raw is None or raw in ("none", "")):
            return None
        try:
            value = _PARSERS[self.kind](raw)
        except (TypeError, ValueError, OverflowError):
            wanted = f"one of {', '.join(self.choices)}" if self.choices else _EXPECTED[self.kind]
            raise ValueError(f"must be {wanted}{self._or_auto()}, not {format_bad_value(raw)}") from None
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
            raise ValueError(f"must be more than {_bound(self.above)}, not {format_bad_value(value)}")
        if self.at_most is not None and not value <= self.at_most:
            raise ValueError(f"must be at most {_bound(self.at_most)}, not {format_bad_value(value)}")

    def _or_auto(self) -> str:
        return " or auto" if self.default is AUTO else ""


def setting(group: str, kind: str, default: Any, help: str, **limits: Any) -> Any:
    """A dataclass field that declares a setting; the dataclass gives it its name."""
    return dataclasses.field(default=default, metadata={"group": group, "kind": kind, "help": help, **limits})


def format_bad_value(value: object) -> str:
    """Format a bad value for an error message: control characters escaped, shortened to about 60 characters."""
    try:
        return _SHOWN.repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; deep nesting
        return f"a very long {type(value).__name__}"


def format_default(field: Field) -> str:
    """The default as a person would type it; empty where there is none to tell."""
    if field.default is None or field.default is AUTO or field.default == "":
        return ""
    return str(field.default).lower() if field.kind == "bool" else str(field.default)


@functools.cache
def fields(settings: type) -> dict[str, Field]:
    """The declared settings of a dataclass, by name, in the order of their declaration."""
    return {
        field.name: Field(name=field.name, default=field.default, **field.metadata)
        for field in dataclasses.fields(settings)
    }


def parse_settings(settings: type, raw: Mapping[str, object], source: str = "") -> dict[str, Any]:
    """Parse every value of `raw`; SettingsError names all that are wrong. `source` names a file, if one was read."""
    known = fields(settings)
    values: dict[str, Any] = {}
    problems: list[str] = []
    where = f"{source}: " if source else ""
    for name, value in raw.items():
        if name not in known:
            problems.append(f"{where}unknown setting {format_bad_value(name)}.")
            continue
        title = name if source else known[name].flag
        try:
            values[name] = known[name].parse(value)
        except ValueError as error:
            problems.append(f"{where}{title} {error}.")
    if problems:
        raise SettingsError(problems)
    return values


def _bound(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _check_text(value: str) -> None:
    if "\0" in value:
        raise ValueError(f"must be text without the character NUL, not {format_bad_value(value)}")
    if len(value) > _MOST_CHARACTERS:
        raise ValueError(f"must be at most {_MOST_CHARACTERS:,} characters long, not {len(value):,}")


def _parse_bool(raw: object) -> bool:
    if not isinstance(raw, str | int):
        raise TypeError
    word = str(raw).strip().lower()
    if word not in _WORDS:
        raise ValueError
    return _WORDS[word]


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
    float(value)  # what it is reckoned with; OverflowError for hundreds of digits
    return value


def _whole_number(raw: object) -> int:
    if isinstance(raw, float):
        raise TypeError
    text = _ascii(raw)
    if "e" in text.lower():  # 1e6 is a whole number to everybody but int()
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
    return _parse_float(seconds)  # hours of a large number may be more than a float holds


_PARSERS = {
    "int": _parse_int,
    "float": _parse_float,
    "bool": _parse_bool,
    "str": _parse_str,
    "size": _parse_size,
    "duration": _parse_duration,
}
