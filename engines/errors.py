"""The one base of every exception whose message is meant for a person."""

import re

_LONG_WORD = re.compile(r"\S{400,}")  # a name that was typed or read; every usual path is shorter
_SHOWN = 60  # characters of its beginning, and of its end


class UserError(Exception):
    """An error that the user can fix; `str(error)` states what and how in one sentence. Long words are shortened."""

    def __init__(self, message: str) -> None:
        super().__init__(_shortened(message))


class RunNotFoundError(UserError):
    """No run has the given id or prefix."""


class SettingsError(UserError):
    """One or more settings are wrong; `problems` holds a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = [_shortened(problem) for problem in problems]


def _shortened(message: str) -> str:
    return _LONG_WORD.sub(lambda word: f"{word[0][:_SHOWN]}…{word[0][-_SHOWN:]}", message)
