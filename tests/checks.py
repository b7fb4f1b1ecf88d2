"""Makers of post-conditions: each is called before a key is pressed, and returns the check to make after it."""

from collections.abc import Callable
from typing import Any

from seats import Seat
from textual.screen import Screen

Check = Callable[[], object]
PostCondition = Callable[[Seat], Check]
Read = Callable[[Seat], Any]


def says(*words: str) -> PostCondition:
    """A new message contains all of these words."""

    def post(seat: Seat) -> Check:
        known = len(seat.app.said)
        return lambda: any(all(word in said for word in words) for said in seat.app.said[known:])

    return post


def becomes(read: Read, wanted: Any = True) -> PostCondition:
    return lambda seat: lambda: read(seat) == wanted


def changes(read: Read) -> PostCondition:
    """This, and not merely something."""

    def post(seat: Seat) -> Check:
        before = read(seat)
        return lambda: read(seat) != before

    return post


def moves(read: Read, by: int | None = None, sign: int = 0) -> PostCondition:
    """A number grows by so much, or in the direction of the sign."""

    def post(seat: Seat) -> Check:
        before = read(seat)
        return lambda: read(seat) - before == by if by is not None else (read(seat) - before) * sign > 0

    return post


def both(*posts: PostCondition) -> PostCondition:
    def post(seat: Seat) -> Check:
        checks = [one(seat) for one in posts]
        return lambda: all(check() for check in checks)

    return post


def either(*posts: PostCondition) -> PostCondition:
    def post(seat: Seat) -> Check:
        checks = [one(seat) for one in posts]
        return lambda: any(check() for check in checks)

    return post


def when(condition: Read, then: PostCondition, otherwise: PostCondition) -> PostCondition:
    """Which of two holds depends on the situation."""
    return lambda seat: (then if condition(seat) else otherwise)(seat)


def opens(screen: type[Screen[Any]]) -> PostCondition:
    return becomes(lambda seat: isinstance(seat.screen, screen) and seat.screen.is_mounted)


def requests(verb: str) -> PostCondition:
    """A request of that verb lies in the control folder of a run or a study."""
    return moves(lambda seat: len(list(seat.app.state.results.glob(f"*/*/control/*-{verb}.json"))), 1)


def writes(pattern: str) -> PostCondition:
    return both(
        moves(lambda seat: sum(path.stat().st_mtime_ns for path in seat.app.state.results.glob(pattern)), sign=1),
        says(""),
    )
