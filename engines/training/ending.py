"""The ways in which a run ends: reasons, exit codes and messages."""

from typing import NamedTuple

from engines.errors import UserError
from engines.exit_codes import FAILURE, UNEXPECTED_EXIT


class Ending(NamedTuple):
    """The fields of the event `ended`. Reasons: finished, stopped, interrupted, terminated, halted, crashed."""

    reason: str
    exit_code: int
    detail: str | None = None
    traceback: str | None = None


class StopRequested(BaseException):
    """A signal or a request to stop that arrived before training began.

    Like KeyboardInterrupt, it is not an Exception: code that handles any error of a library must not catch it.
    """

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


def get_ending_of(error: BaseException) -> Ending:
    """Return the ending of a run that an exception ended. Call it while the exception is being handled."""
    if isinstance(error, StopRequested):
        return error.ending
    if isinstance(error, UserError):
        return Ending("crashed", FAILURE, str(error))
    if isinstance(error, OSError):  # a disk or a file of the user's, not a defect of the program
        name, reason = error.filename or "a file", error.strerror or error
        return Ending("crashed", FAILURE, f"{name} cannot be read or written: {reason}.")
    from engines.system import bytecode

    if damage := bytecode.discard_if_damaged(error):
        return Ending("crashed", FAILURE, damage)
    import traceback

    return Ending("crashed", UNEXPECTED_EXIT, f"{type(error).__name__}: {error}", traceback.format_exc())
