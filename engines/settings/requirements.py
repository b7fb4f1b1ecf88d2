"""Conditions on other settings that a setting needs to have an effect, with their wording for messages.

A condition is declared once, on the setting (`applies_when` in `engines.settings.train`). Errors, warnings, the form
and the cells of a study follow from it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

NONZERO = "above 0"


class Requirement(NamedTuple):
    """A condition on the values of all settings. If `unmet_is_error`, giving a value while it is unmet is an error."""

    description: str  # the condition, such as "--optimizer adamw"
    holds: Callable[[Mapping[str, Any]], bool]
    name: str = ""  # the setting that it depends on, if it is one
    unmet_is_error: bool = False

    def format_error(self, flag: str, values: Mapping[str, Any]) -> str:
        """Return the error for a setting that was given although this requirement is unmet."""
        return f"{flag} cannot be used with {flag_of(self.name)} {values[self.name]}; it needs {self.description}."

    def format_warning(self, flag: str, value: object) -> str:
        """Return the warning for a setting that has no effect because this requirement is unmet."""
        shown = {True: flag, False: f"--no-{flag[2:]}"}[value] if isinstance(value, bool) else f"{flag} {value}"
        return f"{shown} has no effect: it needs {self.description}."


def needs(unmet_is_error: bool = False, **accepted: Any) -> tuple[Requirement, ...]:
    """Return a requirement for each named setting: it must have this value, one of a tuple, or be NONZERO."""
    return tuple(_require(name, values, unmet_is_error) for name, values in accepted.items())


def when(description: str, holds: Callable[[Mapping[str, Any]], bool]) -> tuple[Requirement, ...]:
    """Return a requirement on several settings."""
    return (Requirement(description, holds),)


def flag_of(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def first_unmet(requirements: tuple[Requirement, ...], values: Mapping[str, Any]) -> Requirement | None:
    """Return the first requirement that does not hold; None if all do."""
    return next((requirement for requirement in requirements if not requirement.holds(values)), None)


def _require(name: str, accepted: Any, unmet_is_error: bool) -> Requirement:
    flag = flag_of(name)
    if accepted == NONZERO:
        return Requirement(f"{flag} {NONZERO}", lambda values: bool(values[name]), name, unmet_is_error)
    choices = accepted if isinstance(accepted, tuple) else (accepted,)
    if choices == (True,):
        description = flag
    elif choices == (False,):
        description = f"--no-{flag[2:]}"
    elif len(choices) == 1:
        description = f"{flag} {choices[0]}"
    else:
        description = f"{flag} {', '.join(choices[:-1])} or {choices[-1]}"
    return Requirement(description, lambda values: values[name] in choices, name, unmet_is_error)
