"""Marks on runs: each has the smallest free number, which is its colour too."""

from collections.abc import Container

MOST = 8  # curves that can be told apart


class Marks:
    """Runs by their keys."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each marked run, in the order of the numbers."""
        return dict(sorted(self._numbers.items(), key=lambda item: item[1]))

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, key: str) -> bool:
        return key in self._numbers

    def turn(self, key: str) -> bool:
        """Mark, or take the mark away; False if there are no marks left."""
        if key in self._numbers:
            del self._numbers[key]
            return True
        free = [number for number in range(1, MOST + 1) if number not in self._numbers.values()]
        if free:
            self._numbers[key] = free[0]
        return bool(free)

    def keep(self, keys: Container[str]) -> None:
        """Forget runs that are no more."""
        self._numbers = {key: number for key, number in self._numbers.items() if key in keys}
