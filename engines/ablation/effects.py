"""Main effects and interaction effects of a full grid: contrasts over all cells, computed per seed."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engines.ablation.cells import Axis, count_combinations
from engines.ablation.plan import Job, Plan
from engines.ablation.results import RunResult
from engines.ablation.statistics import PairedDifference, adjust_for_comparisons, paired_t_test

ScoreFunction = Callable[[RunResult], float | None]


@dataclasses.dataclass(frozen=True)
class Effect:
    """The effect of `values` compared with `instead_of`, averaged over the other axes; lower scores are better.

    With one axis it is a main effect; with two it is their interaction effect, the effect of both values together minus
    the sum of their separate effects.
    """

    axes: tuple[str, ...]
    values: tuple[Any, ...]
    instead_of: tuple[Any, ...]
    difference: PairedDifference


class FullGrid:
    """The scores of a complete grid. With a cell missing it has no effects, because they could not be separated."""

    def __init__(self, plan: Plan, results: Mapping[Job, RunResult], score: ScoreFunction) -> None:
        names = [axis.name for axis in plan.axes]
        on_grid = [(index, cell) for index, cell in enumerate(plan.cells) if set(cell.changes) == set(names)]
        base = plan.cells[plan.base_index].changes
        self._axes = plan.axes
        self._reference = {axis.name: base.get(axis.name, axis.values[0]) for axis in plan.axes}
        has_all_cells = len(on_grid) == count_combinations(plan.axes)
        is_full = plan.options.pick == "grid" and not plan.options.halving and has_all_cells
        self._scores_per_seed: list[dict[tuple[Any, ...], float]] = []  # of seeds for which every cell has a score
        for seed in plan.seeds if is_full else ():
            scores = {
                tuple(cell.changes[name] for name in names): value
                for index, cell in on_grid
                if (result := results.get(Job(index, seed))) and (value := score(result)) is not None
            }
            if len(scores) == len(on_grid):
                self._scores_per_seed.append(scores)

    def compute_main_effects(self) -> list[Effect]:
        """Return the effect of each value of each axis, adjusted for their number."""
        return _adjust_effects(
            self._compute_effect({axis.name: value}) for axis in self._axes for value in self._other_values(axis)
        )

    def compute_interactions(self) -> list[Effect]:
        """Return the interaction effect of each pair of values of two axes, adjusted for their number."""
        return _adjust_effects(
            self._compute_effect({one.name: a, other.name: b})
            for one, other in itertools.combinations(self._axes, 2)
            for a, b in itertools.product(self._other_values(one), self._other_values(other))
        )

    def _other_values(self, axis: Axis) -> list[Any]:
        return [value for value in axis.values if self._scores_per_seed and value != self._reference[axis.name]]

    def _compute_effect(self, changes: dict[str, Any]) -> Effect:
        contrasts = [self._compute_contrast(scores, changes) for scores in self._scores_per_seed]
        return Effect(
            axes=tuple(changes),
            values=tuple(changes.values()),
            instead_of=tuple(self._reference[name] for name in changes),
            difference=paired_t_test(contrasts),
        )

    def _compute_contrast(self, scores: Mapping[tuple[Any, ...], float], changes: Mapping[str, Any]) -> float:
        """Return the contrast of one seed: each changed axis has sign + at its new value and − at the base's."""
        total, other_combinations = 0.0, 1
        for axis in self._axes:
            other_combinations *= 1 if axis.name in changes else len(axis.values)
        for values, score in scores.items():
            sign = 1
            for axis, value in zip(self._axes, values, strict=True):
                if axis.name in changes:
                    sign *= (value == changes[axis.name]) - (value == self._reference[axis.name])
            total += sign * score
        return total / other_combinations


def _adjust_effects(effects: Iterable[Effect]) -> list[Effect]:
    unadjusted = list(effects)
    differences = adjust_for_comparisons([effect.difference for effect in unadjusted])
    return [
        dataclasses.replace(effect, difference=difference)
        for effect, difference in zip(unadjusted, differences, strict=True)
    ]
