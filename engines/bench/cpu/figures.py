"""Figures of `bench cpu` that compare two sides, with the goals of this program."""

from collections.abc import Sequence
from typing import NamedTuple

from engines.bench.report import Figure


class PartResult(NamedTuple):
    """The figures of one part of the benchmark, and sentences about them."""

    figures: list[Figure]
    notes: list[str]


def compare(name: str, unit: str, ours: list[float], theirs: list[float], limit: float, more: bool) -> Figure:
    """Return the quotient of ours and theirs in each round."""
    quotients = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Figure(name, unit, quotients, limit, more)


def without_goals(figures: Sequence[Figure]) -> list[Figure]:
    """Return the figures without their goals, for a CPU for which there are none."""
    return [figure._replace(limit=None) for figure in figures]
