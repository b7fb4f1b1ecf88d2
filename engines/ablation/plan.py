"""A study's plan: base configuration, axes, seeds, and the cells that follow from them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from engines import registry
from engines.ablation.cells import Axis, Cell, DroppedCombination, count_combinations, design_cells
from engines.ablation.launchers import find_launcher_problems
from engines.ablation.settings import StudySettings
from engines.data.file_selection import find_files, select_train_and_val
from engines.errors import SettingsError, UserError
from engines.events import has_fields
from engines.files import user_path
from engines.settings.applicability import describe_ineffective_settings, find_unmet_requirements
from engines.settings.fields import AUTO, fields
from engines.settings.requirements import flag_of
from engines.settings.resolve import resolve
from engines.settings.train import BUILT_IN_CORPORA, TrainSettings

SCHEMA = 1
MAX_CELLS = 10_000  # more are a mistake in an axis, or days of work
DEFAULT_AXES = (Axis("tie_lm_head", (True, False)), Axis("input_rmsnorm", (False, True)))
_NOT_AXES = {
    "seed": "--seeds N trains every cell with N seeds",
    **dict.fromkeys(
        ("sample_every", "sample_tokens", "temperature", "prompt", "checkpoint_dir", "keep_last", "keep_best"),
        "it does not affect training",
    ),
}
_PATH_SETTINGS = ("data", "val_data", "checkpoint_dir")
_DEFAULT_RANDOM_CELLS = 16
_LAST_RUNG_CELLS = 2  # successive halving ends with the base and the best of the others


class Job(NamedTuple):
    """One run: a cell, by its index in the plan, with a seed, trained to the end of a rung."""

    cell: int
    seed: int
    rung: int = 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that decides which runs a study makes. `rungs` has the number of cells on each rung of successive
    halving: all cells, then fewer; without halving it has one entry."""

    given: dict[str, Any]
    axes: tuple[Axis, ...]
    options: StudySettings
    cells: tuple[Cell, ...]
    base: str
    seeds: tuple[int, ...]
    rungs: tuple[int, ...]
    dropped: tuple[DroppedCombination, ...]

    @property
    def base_index(self) -> int:
        """The index of the cell that the others are compared with."""
        return [cell.name for cell in self.cells].index(self.base)

    @property
    def total(self) -> int:
        """The number of runs on all rungs."""
        return sum(self.rungs) * len(self.seeds)

    def run_settings(self, cell: Cell, seed: int) -> dict[str, Any]:
        """Return the settings given for a run of this cell."""
        return {**self.given, **cell.changes, "seed": seed}

    def to_json(self) -> dict[str, Any]:
        """Return the content of plan.json; `plan_from_json` is the inverse."""
        return dataclasses.asdict(self)


def make_plan(given: Mapping[str, Any], axes: Mapping[str, tuple[Any, ...]], options: Mapping[str, Any]) -> Plan:
    """Make a plan of parsed settings, axes and study options. Raises SettingsError with all problems at once."""
    study = StudySettings(**options)
    given = {name: _make_absolute(name, value) for name, value in given.items()}
    chosen = tuple(
        Axis(name, tuple(dict.fromkeys(_make_absolute(name, value) for value in values)))
        for name, values in axes.items()
    )
    chosen = chosen or DEFAULT_AXES
    base, problems = _resolve_base(given)
    problems += _find_option_problems(study, base) + find_launcher_problems(study)
    problems += _find_axis_problems(chosen, study.pick) + _find_missing_corpora(chosen)
    if problems or base is None:
        raise SettingsError(problems)
    selection = design_cells(study.pick, given, chosen, study.cells or _DEFAULT_RANDOM_CELLS, base.seed)
    if selection.without_effect:
        raise SettingsError(
            [
                f"--axis {name} has no effect in any cell: it needs {words}."
                for name, words in selection.without_effect.items()
            ]
        )
    if len(selection.cells) == 1:
        reasons = [f"{one.name}: {one.reason}" for one in selection.dropped]
        raise SettingsError(["the axes do not change the base.", *reasons])
    return Plan(
        given=given,
        axes=chosen,
        options=study,
        cells=selection.cells,
        base=selection.base,
        seeds=tuple(base.seed + index for index in range(study.seeds)),
        rungs=_halve(len(selection.cells)) if study.halving else (len(selection.cells),),
        dropped=selection.dropped,
    )


def plan_from_json(raw: Mapping[str, Any]) -> Plan:
    """Rebuild a plan from `Plan.to_json`. Raises KeyError or TypeError if `raw` is not a plan."""
    if not _is_plan(raw):
        raise TypeError("not a plan")
    return Plan(
        given=raw["given"],
        axes=tuple(Axis(axis["name"], tuple(axis["values"])) for axis in raw["axes"]),
        options=StudySettings(**raw["options"]),
        cells=tuple(Cell(**cell) for cell in raw["cells"]),
        base=raw["base"],
        seeds=tuple(raw["seeds"]),
        rungs=tuple(raw["rungs"]),
        dropped=tuple(DroppedCombination(**one) for one in raw["dropped"]),
    )


def _is_plan(raw: Mapping[str, Any]) -> bool:
    return (
        has_fields(raw, {"given": (dict,), "base": (str,), "seeds": (list,), "rungs": (list,), "dropped": (list,)})
        and all(has_fields(axis, {"name": (str,), "values": (list,)}) for axis in raw["axes"])
        and all(has_fields(cell, {"name": (str,), "changes": (dict,)}) for cell in raw["cells"])
        and all(type(number) is int for number in [*raw["seeds"], *raw["rungs"]])
        and raw["base"] in [cell["name"] for cell in raw["cells"]]
    )


def find_unused_base_settings(plan: Plan) -> list[str]:
    """Return a sentence for each setting of the base that has no effect in any cell."""
    unmet = [find_unmet_requirements(resolve({**plan.given, **cell.changes})) for cell in plan.cells]
    unused = {name: value for name, value in plan.given.items() if all(name in found for found in unmet)}
    return describe_ineffective_settings(unused, resolve(plan.given))


def _resolve_base(given: Mapping[str, Any]) -> tuple[TrainSettings | None, list[str]]:
    """Return the base's settings, or None and the problems."""
    try:
        base = resolve(given)
        registry.check_available(base.mode, base.model_kind)
        select_train_and_val(base.data, base.val_data)
    except SettingsError as error:
        return None, list(error.problems)
    except UserError as error:
        return None, [str(error)]
    return base, []


def _find_option_problems(study: StudySettings, base: TrainSettings | None) -> list[str]:
    problems = []
    max_seed = fields(TrainSettings)["seed"].at_most
    if base and max_seed is not None and base.seed + study.seeds - 1 > max_seed:
        problems.append(f"--seed {base.seed} with --seeds {study.seeds} exceeds the largest seed, {max_seed:,}.")
    if study.cells is not None and study.pick != "random":
        problems.append(f"--cells needs --pick random: --pick {study.pick} trains all of its cells.")
    if study.halving and base and (base.time_budget is not None or base.target_bpb is not None):
        problems.append("--halving cannot be combined with --time-budget or --target-bpb: it divides the steps.")
    return problems


def _find_axis_problems(axes: tuple[Axis, ...], design: str) -> list[str]:
    problems = [f"--axis {axis.name}: {_NOT_AXES[axis.name]}." for axis in axes if axis.name in _NOT_AXES]
    problems += [f"--axis {axis.name} has no values." for axis in axes if not axis.values]
    count = count_combinations(axes)
    if design == "grid" and count > MAX_CELLS:
        problems.append(f"the grid has {count:,} cells, more than {MAX_CELLS:,}. Use --pick random --cells N.")
    return problems


def _find_missing_corpora(axes: tuple[Axis, ...]) -> list[str]:
    problems = []
    for axis in axes:
        for value in axis.values:
            if axis.name in ("data", "val_data") and value not in (*BUILT_IN_CORPORA, None, AUTO):
                try:
                    find_files(value)
                except UserError as error:
                    problems.append(str(error))
    return problems


def _make_absolute(name: str, value: Any) -> Any:
    """Make a path absolute, because the queue may be restarted from another folder."""
    if name not in _PATH_SETTINGS or value in (*BUILT_IN_CORPORA, None, AUTO):
        return value
    return str(user_path(value, flag_of(name)))


def _halve(cells: int) -> tuple[int, ...]:
    """Return the number of cells on each rung of successive halving."""
    sizes = [cells]
    while sizes[-1] > _LAST_RUNG_CELLS:
        sizes.append(max(_LAST_RUNG_CELLS, math.ceil(sizes[-1] / 2)))
    return tuple(sizes)
