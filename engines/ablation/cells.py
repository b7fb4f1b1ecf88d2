"""Cells of a study: which combinations of the axes' values are trained, and their names."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from engines.errors import UserError
from engines.random_stream import Permutation
from engines.settings.applicability import (
    describe_ineffective_settings,
    find_unmet_requirements,
    without_ineffective_values,
)
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

_MAX_DRAWS_PER_CELL = 50  # of a random search; more would mean that hardly any combination is valid
_BOOLEAN_NAMES = {"tie_lm_head": ("tied", "untied")}  # names in the Rust program's tables; others are x and no_x
BASE = "base"


@dataclasses.dataclass(frozen=True)
class Axis:
    """A setting, and the values that it takes."""

    name: str
    values: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One configuration: its changes to the base's settings."""

    name: str
    changes: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class DroppedCombination:
    """A combination that is not trained, and the reason."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class CellSelection:
    """The cells in their order; the others are compared with the one named `base`."""

    cells: tuple[Cell, ...]
    base: str
    dropped: tuple[DroppedCombination, ...]
    without_effect: dict[str, str]  # axes whose setting has no effect in any cell, and what each needs


def build_cell_name(changes: Mapping[str, Any]) -> str:
    """Build a name such as `lr=0.1_input_rmsnorm` from a cell's changes."""
    return "_".join(_name_change(name, value) for name, value in changes.items()) or BASE


def count_combinations(axes: Sequence[Axis]) -> int:
    """Return the number of cells of a full grid."""
    return math.prod(len(axis.values) for axis in axes)


def design_cells(design: str, given: Mapping[str, Any], axes: Sequence[Axis], count: int, seed: int) -> CellSelection:
    """Select the cells of a design, a key of `_DESIGNS`. `count` and `seed` are those of the random search."""
    return _collect(given, _DESIGNS[design](axes, count, seed), count if design == "random" else None)


def _grid(axes: Sequence[Axis], count: int, seed: int) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip((axis.name for axis in axes), values, strict=True))


def _one_at_a_time(axes: Sequence[Axis], count: int, seed: int) -> Iterator[dict[str, Any]]:
    yield {}
    for axis in axes:
        for value in axis.values:
            yield {axis.name: value}


def _random_search(axes: Sequence[Axis], count: int, seed: int) -> Iterator[dict[str, Any]]:
    total = count_combinations(axes)
    order = Permutation(total, seed, "cells")
    for draw in range(min(total, _MAX_DRAWS_PER_CELL * count)):
        index, changes = order(draw), {}
        for axis in reversed(axes):
            index, place = divmod(index, len(axis.values))
            changes[axis.name] = axis.values[place]
        yield {axis.name: changes[axis.name] for axis in axes}


_DESIGNS: dict[str, Callable[[Sequence[Axis], int, int], Iterator[dict[str, Any]]]] = {
    "grid": _grid,
    "one-at-a-time": _one_at_a_time,
    "random": _random_search,
}


def _collect(given: Mapping[str, Any], proposals: Iterable[dict[str, Any]], limit: int | None) -> CellSelection:
    """Collect proposals that are valid and differ from each other; add the base if it is not among them."""
    base_settings = resolve(given)
    base = without_ineffective_values(base_settings)
    cells: dict[TrainSettings, Cell] = {}  # by effective settings: two cells with the same ones are the same run
    dropped = []
    axes_with_effect: set[str] = set()
    needed: dict[str, str] = {}
    for changes in proposals:
        name = build_cell_name(changes)
        try:
            settings = resolve({**given, **changes})
        except UserError as error:
            dropped.append(DroppedCombination(name, str(error)))
            continue
        unmet = find_unmet_requirements(settings)
        needed |= {axis: unmet[axis].description for axis in changes if axis in unmet}
        axes_with_effect |= changes.keys() - unmet.keys()
        same_run = without_ineffective_values(settings)
        if _validation_text(settings) != _validation_text(base_settings):
            reason = "it would be evaluated on a different text than the base; set --val-data and --eval-tokens"
            dropped.append(DroppedCombination(name, reason))
        elif same_run not in cells:
            cells[same_run] = Cell(name, changes)
        elif settings != base_settings:
            reasons = [f"it is the same as {cells[same_run].name}", *describe_ineffective_settings(changes, settings)]
            dropped.append(DroppedCombination(name, "; ".join(reasons)))
        if limit is not None and len(cells) == limit:
            break
    if base not in cells:
        cells = {base: Cell(BASE, {}), **cells}
    without_effect = {axis: words for axis, words in needed.items() if axis not in axes_with_effect}
    return CellSelection(tuple(cells.values()), cells[base].name, tuple(dropped), without_effect)


def _validation_text(settings: TrainSettings) -> tuple[object, ...]:
    """Return the settings that, besides the seed, decide on which text a cell is evaluated. Bits per byte of different
    texts cannot be compared."""
    source = (settings.val_data,) if settings.val_data else (settings.data, settings.style)
    generated = (settings.corpus_size, settings.corpus_seed) if source[0] == "stories" else ()
    return (*source, settings.documents, *generated, settings.eval_tokens)


def _name_change(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return _BOOLEAN_NAMES.get(name, (name, f"no_{name}"))[not value]
    return f"{name}={value}"
