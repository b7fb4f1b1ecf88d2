"""Build post-conditions: each is called before a key is pressed, and returns the check to make afterwards."""

from collections.abc import Callable
from typing import Any

from app_pilot import AppPilot
from textual.screen import Screen

Check = Callable[[], object]
PostCondition = Callable[[AppPilot], Check]
Read = Callable[[AppPilot], Any]


def notifies(*words: str) -> PostCondition:
    """Check that a new toast contains all of these words."""

    def post(pilot: AppPilot) -> Check:
        known = len(pilot.app.toasts)
        return lambda: any(all(word in toast for word in words) for toast in pilot.app.toasts[known:])

    return post


def becomes(read: Read, expected: Any = True) -> PostCondition:
    """Check that a value is as expected."""
    return lambda pilot: lambda: read(pilot) == expected


def changes(read: Read) -> PostCondition:
    """Check that a value is no longer what it was."""

    def post(pilot: AppPilot) -> Check:
        before = read(pilot)
        return lambda: read(pilot) != before

    return post


def moves(read: Read, by: int | None = None, sign: int = 0) -> PostCondition:
    """Check that a number grew by exactly `by`, or changed in the direction of `sign`."""

    def post(pilot: AppPilot) -> Check:
        before = read(pilot)
        return lambda: read(pilot) - before == by if by is not None else (read(pilot) - before) * sign > 0

    return post


def both(*posts: PostCondition) -> PostCondition:
    """Check that all of these hold."""

    def post(pilot: AppPilot) -> Check:
        checks = [post(pilot) for post in posts]
        return lambda: all(check() for check in checks)

    return post


def either(*posts: PostCondition) -> PostCondition:
    """Check that one of these holds."""

    def post(pilot: AppPilot) -> Check:
        checks = [post(pilot) for post in posts]
        return lambda: any(check() for check in checks)

    return post


def when(condition: Read, then: PostCondition, otherwise: PostCondition) -> PostCondition:
    """Choose between two post-conditions by what is so before the key is pressed."""
    return lambda pilot: (then if condition(pilot) else otherwise)(pilot)


def opens(screen: type[Screen[Any]]) -> PostCondition:
    """Check that a screen of this class is in front."""
    return becomes(lambda pilot: isinstance(pilot.screen, screen) and pilot.screen.is_mounted)


def requests(verb: str) -> PostCondition:
    """Check that a request was written into the control folder of a run or a study."""
    return moves(lambda pilot: len(list(pilot.app.state.results.glob(f"*/*/control/*-{verb}.json"))), 1)


def writes(pattern: str) -> PostCondition:
    """Check that a file of the results directory was written, and that a toast was shown."""
    return both(
        moves(lambda pilot: sum(path.stat().st_mtime_ns for path in pilot.app.state.results.glob(pattern)), sign=1),
        notifies(""),
    )
