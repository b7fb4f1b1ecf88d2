"""The base classes of exceptions whose message is shown to the user."""

import re

_LONG_WORD = re.compile(r"\S{400,}")  # a typed or read name; every usual path is shorter
_KEPT = 60  # characters at its beginning and at its end


class UserError(Exception):
    """An error that the user can fix; its message says what failed, why, and what to do. Long words are shortened."""

    def __init__(self, message: str) -> None:
        super().__init__(_shortened(message))


class RunNotFoundError(UserError):
    """No run has the given id or prefix."""


class SettingsError(UserError):
    """One or more invalid settings; `problems` holds a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = [_shortened(problem) for problem in problems]


def _shortened(message: str) -> str:
    return _LONG_WORD.sub(lambda word: f"{word[0][:_KEPT]}…{word[0][-_KEPT:]}", message)
