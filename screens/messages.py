"""Messages that a screen sends to the app, or the app to the screen in front."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from textual.message import Message

from engines.runs.store import Run


@dataclasses.dataclass
class RunSelected(Message):
    """A run was selected, to be shown on the train screen."""

    run: Run


@dataclasses.dataclass
class SampleRequested(Message):
    """A sample of a run's model was requested."""

    run: Run


@dataclasses.dataclass
class FormRequested(Message):
    """The form of a new run was requested, filled with these settings."""

    given: Mapping[str, Any]


class RunsRefreshed(Message):
    """The list of runs was read again."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsRefreshed)
