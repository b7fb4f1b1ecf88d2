"""Marks on runs, for curves on one chart and for comparisons."""

from collections.abc import Container

from screens.chart import SERIES_NUMBERS


class RunMarks:
    """Marked runs by their keys. Each has the smallest free number, which is also the colour of its curve."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each marked run, in ascending order."""
        return dict(sorted(self._numbers.items(), key=lambda item: item[1]))

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, key: str) -> bool:
        return key in self._numbers

    def toggle(self, key: str) -> bool:
        """Mark or unmark a run. Return False if all numbers are used."""
        if key in self._numbers:
            del self._numbers[key]
            return True
        free = [number for number in SERIES_NUMBERS if number not in self._numbers.values()]
        if free:
            self._numbers[key] = free[0]
        return bool(free)

    def retain(self, keys: Container[str]) -> None:
        """Remove the marks of runs that no longer exist."""
        self._numbers = {key: number for key, number in self._numbers.items() if key in keys}
