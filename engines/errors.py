"""The one base of every exception whose message is meant for a person."""


class LabError(Exception):
    """Something a person can mend; `str(error)` is one sentence that says what and how."""


class SettingsError(LabError):
    """One or more settings are wrong; `problems` holds a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems
