"""What each axis of a grid does by itself, and what two do together: contrasts over all cells, seed by seed."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engines.ablation.cells import Axis, combinations
from engines.ablation.plan import Job, Plan
from engines.ablation.results import Result
from engines.ablation.statistics import Difference, correct, paired_difference

Score = Callable[[Result], float | None]


@dataclasses.dataclass(frozen=True)
class Effect:
    """What `values` do instead of the base's, all else averaged over the grid: a value of one axis by itself, or of two
    axes what they do together beyond the sum of both. Less is better."""

    axes: tuple[str, ...]
    values: tuple[Any, ...]
    instead_of: tuple[Any, ...]
    difference: Difference


class Grid:
    """A full grid, on which effects can be told apart; with a hole in it there are none."""

    def __init__(self, plan: Plan, results: Mapping[Job, Result], score: Score) -> None:
        names = [axis.name for axis in plan.axes]
        on_grid = [(index, cell) for index, cell in enumerate(plan.cells) if set(cell.changes) == set(names)]
        base = plan.cells[plan.base_index].changes
        self._axes = plan.axes
        self._reference = {axis.name: base.get(axis.name, axis.values[0]) for axis in plan.axes}
        is_full = plan.options.pick == "grid" and not plan.options.halving and len(on_grid) == combinations(plan.axes)
        self._by_seed: list[dict[tuple[Any, ...], float]] = []  # of seeds that have every cell
        for seed in plan.seeds if is_full else ():
            row = {
                tuple(cell.changes[name] for name in names): value
                for index, cell in on_grid
                if (result := results.get(Job(index, seed))) and (value := score(result)) is not None
            }
            if len(row) == len(on_grid):
                self._by_seed.append(row)

    def effects(self) -> list[Effect]:
        """Return the effects of single values, corrected for their number."""
        return _corrected(self._effect({axis.name: value}) for axis in self._axes for value in self._others(axis))

    def interactions(self) -> list[Effect]:
        """Return the interaction effects of pairs of values, corrected for their number."""
        return _corrected(
            self._effect({one.name: a, other.name: b})
            for one, other in itertools.combinations(self._axes, 2)
            for a, b in itertools.product(self._others(one), self._others(other))
        )

    def _others(self, axis: Axis) -> list[Any]:
        return [value for value in axis.values if self._by_seed and value != self._reference[axis.name]]

    def _effect(self, changes: dict[str, Any]) -> Effect:
        """A contrast: each changed axis counts + at its new value and − at the base's."""
        contrasts = [self._contrast(row, changes) for row in self._by_seed]
        names = tuple(changes)
        return Effect(
            axes=names,
            values=tuple(changes.values()),
            instead_of=tuple(self._reference[name] for name in names),
            difference=paired_difference(contrasts),
        )

    def _contrast(self, row: Mapping[tuple[Any, ...], float], changes: Mapping[str, Any]) -> float:
        total, others = 0.0, 1
        for axis in self._axes:
            others *= 1 if axis.name in changes else len(axis.values)
        for values, score in row.items():
            sign = 1
            for axis, value in zip(self._axes, values, strict=True):
                if axis.name in changes:
                    sign *= (value == changes[axis.name]) - (value == self._reference[axis.name])
            total += sign * score
        return total / others


def _corrected(effects: Iterable[Effect]) -> list[Effect]:
    found = list(effects)
    differences = correct([effect.difference for effect in found])
    return [
        dataclasses.replace(effect, difference=difference)
        for effect, difference in zip(found, differences, strict=True)
    ]
