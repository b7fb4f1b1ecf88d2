"""Messages that a screen sends to the app."""

from collections.abc import Mapping
from typing import Any

from textual.message import Message

from engines.runs.store import Run


class RunChosen(Message):
    """Somebody wants to look at a run."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


class SampleWanted(Message):
    """Somebody wants to hear a run's model."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


class FormWanted(Message):
    """Somebody wants to start a run, beginning with these settings."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.given = given


class RunsRefreshed(Message):
    """The lab's list of runs is up to date."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsRefreshed)
