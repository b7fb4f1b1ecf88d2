"""The cells of a study: which combinations of its axes' values are trained, and what each is called."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from engines.errors import UserError
from engines.random_stream import Permutation
from engines.settings.applicability import effective, unmet_requirements, warnings_about
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

_DRAWS_A_CELL = 50  # by lot; more would mean that hardly any combination makes sense
_WORDS = {"tie_lm_head": ("tied", "untied")}  # the ancestor's names; other yes/no settings are told as x and no_x
BASE = "base"


@dataclasses.dataclass(frozen=True)
class Axis:
    """A setting, and the values that it takes."""

    name: str
    values: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One configuration: what it changes of the base's settings."""

    name: str
    changes: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Dropped:
    """A combination that is not trained, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Picked:
    """The cells in their order; one of them, `base`, is what the others are compared with."""

    cells: tuple[Cell, ...]
    base: str
    dropped: tuple[Dropped, ...]
    without_effect: dict[str, str]  # axes whose setting has no effect in any cell, and what each needs


def name_of(changes: Mapping[str, Any]) -> str:
    return "_".join(_word(name, value) for name, value in changes.items()) or BASE


def combinations(axes: Sequence[Axis]) -> int:
    return math.prod(len(axis.values) for axis in axes)


def pick(how: str, given: Mapping[str, Any], axes: Sequence[Axis], number: int, seed: int) -> Picked:
    """The cells of `how`, a key of the table below. `number` and `seed` are for those by lot."""
    return _collect(given, _PICKS[how](axes, number, seed), number if how == "random" else None)


def _grid(axes: Sequence[Axis], number: int, seed: int) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip((axis.name for axis in axes), values, strict=True))


def _one_at_a_time(axes: Sequence[Axis], number: int, seed: int) -> Iterator[dict[str, Any]]:
    yield {}
    for axis in axes:
        for value in axis.values:
            yield {axis.name: value}


def _by_lot(axes: Sequence[Axis], number: int, seed: int) -> Iterator[dict[str, Any]]:
    total = combinations(axes)
    order = Permutation(total, seed, "cells")
    for draw in range(min(total, _DRAWS_A_CELL * number)):
        index, changes = order(draw), {}
        for axis in reversed(axes):
            index, place = divmod(index, len(axis.values))
            changes[axis.name] = axis.values[place]
        yield {axis.name: changes[axis.name] for axis in axes}


_PICKS: dict[str, Callable[[Sequence[Axis], int, int], Iterator[dict[str, Any]]]] = {
    "grid": _grid,
    "one-at-a-time": _one_at_a_time,
    "random": _by_lot,
}


def _collect(given: Mapping[str, Any], proposals: Iterable[dict[str, Any]], limit: int | None) -> Picked:
    """The proposals that can be trained and differ; the base is added where it is not among them."""
    base_settings = resolve(given)
    base = effective(base_settings)
    found: dict[TrainSettings, Cell] = {}
    dropped = []
    has_effect: set[str] = set()
    needed: dict[str, str] = {}
    for changes in proposals:
        name = name_of(changes)
        try:
            settings = resolve({**given, **changes})
        except UserError as error:
            dropped.append(Dropped(name, str(error)))
            continue
        unmet = unmet_requirements(settings)
        needed |= {axis: unmet[axis].words for axis in changes if axis in unmet}
        has_effect |= changes.keys() - unmet.keys()
        same_run = effective(settings)
        if _scored_text(settings) != _scored_text(base_settings):
            dropped.append(Dropped(name, "it would be scored on another text; set --val-data and --eval-tokens"))
        elif same_run not in found:
            found[same_run] = Cell(name, changes)
        elif settings != base_settings:
            reasons = [f"it is the same as {found[same_run].name}", *warnings_about(changes, settings)]
            dropped.append(Dropped(name, "; ".join(reasons)))
        if limit is not None and len(found) == limit:
            break
    if base not in found:
        found = {base: Cell(BASE, {}), **found}
    without_effect = {axis: words for axis, words in needed.items() if axis not in has_effect}
    return Picked(tuple(found.values()), found[base].name, tuple(dropped), without_effect)


def _scored_text(settings: TrainSettings) -> tuple[object, ...]:
    """What decides on which text a cell is judged, beside the seed: bits per byte of different texts tell nothing."""
    source = (settings.val_data,) if settings.val_data else (settings.data, settings.style)
    written = (settings.corpus_size, settings.corpus_seed) if source[0] == "stories" else ()
    return (*source, settings.documents, *written, settings.eval_tokens)


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return _WORDS.get(name, (name, f"no_{name}"))[not value]
    return f"{name}={value}"
