"""A study's plan: base configuration, axes, seeds, and the cells that follow; made of flags, TOML or an older plan."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from engines import registry
from engines.ablation import launchers
from engines.ablation.cells import Axis, Cell, Dropped, combinations, pick
from engines.ablation.settings import StudySettings
from engines.data.file_selection import locate, locate_both
from engines.errors import SettingsError, UserError
from engines.events import holds
from engines.files import user_path
from engines.settings.applicability import unmet_requirements, warnings_about
from engines.settings.fields import AUTO, fields
from engines.settings.requirements import flag_of
from engines.settings.resolve import resolve
from engines.settings.train import BUILT_IN_CORPORA, TrainSettings

SCHEMA = 1
MOST_CELLS = 10_000  # more are a mistake in an axis, or days of work
ANCESTORS_AXES = (Axis("tie_lm_head", (True, False)), Axis("input_rmsnorm", (False, True)))
_NO_AXIS = {
    "seed": "--seeds N trains every cell with N seeds",
    **dict.fromkeys(
        ("sample_every", "sample_tokens", "temperature", "prompt", "checkpoint_dir", "keep_last", "keep_best"),
        "it does not affect training",
    ),
}
_PATHS = ("data", "val_data", "checkpoint_dir")
_BY_LOT = 16
_FEWEST_LEFT = 2  # halving ends with the base and the best of the others


class Job(NamedTuple):
    """One run: a cell, by its place in the plan, with a seed, trained as far as a rung of the halving goes."""

    cell: int
    seed: int
    rung: int = 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that decides which runs a study makes. `rungs` are how many cells halving trains: all, then fewer."""

    given: dict[str, Any]
    axes: tuple[Axis, ...]
    options: StudySettings
    cells: tuple[Cell, ...]
    base: str
    seeds: tuple[int, ...]
    rungs: tuple[int, ...]
    dropped: tuple[Dropped, ...]

    @property
    def base_index(self) -> int:
        return [cell.name for cell in self.cells].index(self.base)

    @property
    def total(self) -> int:
        """Runs in all."""
        return sum(self.rungs) * len(self.seeds)

    def given_of(self, cell: Cell, seed: int) -> dict[str, Any]:
        """What a run of this cell is asked for."""
        return {**self.given, **cell.changes, "seed": seed}

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def make_plan(given: Mapping[str, Any], axes: Mapping[str, tuple[Any, ...]], options: Mapping[str, Any]) -> Plan:
    """The plan of parsed settings, axes and options; SettingsError names all that stands against it."""
    study = StudySettings(**options)
    anchored = {name: _anchored(name, value) for name, value in given.items()}
    chosen = tuple(
        Axis(name, tuple(dict.fromkeys(_anchored(name, value) for value in values))) for name, values in axes.items()
    )
    chosen = chosen or ANCESTORS_AXES
    base, problems = _base(anchored)
    problems += _problems_of_options(study, base) + launchers.problems(study)
    problems += _problems_of_axes(chosen, study.pick) + _missing(chosen)
    if problems or base is None:
        raise SettingsError(problems)
    picked = pick(study.pick, anchored, chosen, study.cells or _BY_LOT, base.seed)
    if picked.without_effect:
        raise SettingsError(
            [
                f"--axis {name} has no effect in any cell: it needs {words}."
                for name, words in picked.without_effect.items()
            ]
        )
    if len(picked.cells) == 1:
        raise SettingsError(["no axis changes anything:", *(f"{one.name}: {one.reason}" for one in picked.dropped)])
    return Plan(
        given=anchored,
        axes=chosen,
        options=study,
        cells=picked.cells,
        base=picked.base,
        seeds=tuple(base.seed + index for index in range(study.seeds)),
        rungs=_rungs(len(picked.cells)) if study.halving else (len(picked.cells),),
        dropped=picked.dropped,
    )


def plan_from_json(raw: Mapping[str, Any]) -> Plan:
    """The inverse of `to_json`; KeyError or TypeError if it is none."""
    if not _is_plan(raw):
        raise TypeError("no plan")
    return Plan(
        given=raw["given"],
        axes=tuple(Axis(axis["name"], tuple(axis["values"])) for axis in raw["axes"]),
        options=StudySettings(**raw["options"]),
        cells=tuple(Cell(**cell) for cell in raw["cells"]),
        base=raw["base"],
        seeds=tuple(raw["seeds"]),
        rungs=tuple(raw["rungs"]),
        dropped=tuple(Dropped(**one) for one in raw["dropped"]),
    )


def _is_plan(raw: Mapping[str, Any]) -> bool:
    return (
        holds(raw, {"given": (dict,), "base": (str,), "seeds": (list,), "rungs": (list,), "dropped": (list,)})
        and all(holds(axis, {"name": (str,), "values": (list,)}) for axis in raw["axes"])
        and all(holds(cell, {"name": (str,), "changes": (dict,)}) for cell in raw["cells"])
        and all(type(number) is int for number in [*raw["seeds"], *raw["rungs"]])
        and raw["base"] in [cell["name"] for cell in raw["cells"]]
    )


def _base(given: Mapping[str, Any]) -> tuple[TrainSettings | None, list[str]]:
    try:
        base = resolve(given)
        registry.available(base.mode, base.model_kind)
        locate_both(base.data, base.val_data)
    except SettingsError as error:
        return None, list(error.problems)
    except UserError as error:
        return None, [str(error)]
    return base, []


def warnings_about_base(plan: Plan) -> list[str]:
    """Return a sentence for each setting of the base that has no effect in any cell."""
    unmet = [unmet_requirements(resolve({**plan.given, **cell.changes})) for cell in plan.cells]
    everywhere = {name: value for name, value in plan.given.items() if all(name in found for found in unmet)}
    return warnings_about(everywhere, resolve(plan.given))


def _problems_of_options(study: StudySettings, base: TrainSettings | None) -> list[str]:
    problems = []
    most = fields(TrainSettings)["seed"].at_most
    if base and most is not None and base.seed + study.seeds - 1 > most:
        problems.append(f"--seed {base.seed} and --seeds {study.seeds} give seeds above {most:,}; lower --seed.")
    if study.cells is not None and study.pick != "random":
        problems.append("--cells is for --pick random; a grid has all its cells.")
    if study.halving and base and (base.time_budget is not None or base.target_bpb is not None):
        problems.append("--halving divides steps; it does not fit --time-budget and --target-bpb.")
    return problems


def _problems_of_axes(axes: tuple[Axis, ...], how: str) -> list[str]:
    problems = [f"--axis {axis.name}: {_NO_AXIS[axis.name]}." for axis in axes if axis.name in _NO_AXIS]
    problems += [f"--axis {axis.name} has no values." for axis in axes if not axis.values]
    number = combinations(axes)
    if how == "grid" and number > MOST_CELLS:
        problems.append(f"the grid has {number:,} cells, more than {MOST_CELLS:,}; use --pick random --cells N.")
    return problems


def _missing(axes: tuple[Axis, ...]) -> list[str]:
    """Texts that an axis names and that are not there."""
    problems = []
    for axis in axes:
        for value in axis.values:
            if axis.name in ("data", "val_data") and value not in (*BUILT_IN_CORPORA, None, AUTO):
                try:
                    locate(value)
                except UserError as error:
                    problems.append(str(error))
    return problems


def _anchored(name: str, value: Any) -> Any:
    """A path that means the same in every folder: the queue may be started again from another."""
    if name not in _PATHS or value in (*BUILT_IN_CORPORA, None, AUTO):
        return value
    return str(user_path(value, flag_of(name)))


def _rungs(cells: int) -> tuple[int, ...]:
    sizes = [cells]
    while sizes[-1] > _FEWEST_LEFT:
        sizes.append(max(_FEWEST_LEFT, math.ceil(sizes[-1] / 2)))
    return tuple(sizes)
