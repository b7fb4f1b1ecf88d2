"""Conditions on other settings without which a setting has no effect, each with its wording for messages.

A condition is declared once, on the setting (`applies_when` in `engines.settings.train`); refusals, warnings,
the form and the cells of a study follow from it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

NONZERO = "above 0"


class Requirement(NamedTuple):
    """A condition on the values of all settings. Where `is_refused`, a value given without it is an error."""

    words: str  # what is needed, such as "--optimizer adamw"
    holds: Callable[[Mapping[str, Any]], bool]
    name: str = ""  # the setting that decides, where it is one
    is_refused: bool = False

    def refusal(self, flag: str, values: Mapping[str, Any]) -> str:
        return f"{flag} does not fit {flag_of(self.name)} {values[self.name]}; use {self.words}."

    def warning(self, flag: str, value: object) -> str:
        shown = {True: flag, False: f"--no-{flag[2:]}"}[value] if isinstance(value, bool) else f"{flag} {value}"
        return f"{shown} has no effect: it needs {self.words}."


def needs(is_refused: bool = False, **accepted: Any) -> tuple[Requirement, ...]:
    """Return a requirement for each named setting: its value must be the given one, one of a tuple, or NONZERO."""
    return tuple(_requirement(name, wanted, is_refused) for name, wanted in accepted.items())


def when(words: str, holds: Callable[[Mapping[str, Any]], bool]) -> tuple[Requirement, ...]:
    """Return a requirement on several settings."""
    return (Requirement(words, holds),)


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def first_unmet(requirements: tuple[Requirement, ...], values: Mapping[str, Any]) -> Requirement | None:
    return next((requirement for requirement in requirements if not requirement.holds(values)), None)


def _requirement(name: str, wanted: Any, is_refused: bool) -> Requirement:
    flag = flag_of(name)
    if wanted == NONZERO:
        return Requirement(f"{flag} {NONZERO}", lambda values: bool(values[name]), name, is_refused)
    choices = wanted if isinstance(wanted, tuple) else (wanted,)
    if choices == (True,):
        words = flag
    elif choices == (False,):
        words = f"--no-{flag[2:]}"
    elif len(choices) == 1:
        words = f"{flag} {choices[0]}"
    else:
        words = f"{flag} {', '.join(choices[:-1])} or {choices[-1]}"
    return Requirement(words, lambda values: values[name] in choices, name, is_refused)
