"""Drafts of new studies: the plan that follows from the entries, its estimated time, and its problems."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engines.ablation.cells import Cell
from engines.ablation.formatting import format_value
from engines.ablation.plan import Plan, make_plan
from engines.ablation.settings import StudySettings
from engines.ablation.slots import allocate_slots
from engines.ablation.study_file import parse_axes
from engines.cost.machine import this_machine
from engines.cost.plan import estimate
from engines.cost.vocab_size import preview_vocab_sizes
from engines.errors import SettingsError, UserError
from engines.settings.fields import AUTO, fields, format_default, parse_settings
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.system.gpus import list_gpus

_MAX_ESTIMATED_CELLS = 100  # of a larger study, this many evenly spaced cells stand for all
_MAX_SUGGESTIONS = 8
_KINDS = {"N": "a whole number", "X": "a number"}
_AXIS_HELP = (
    "One axis per line: a setting and its values, such as lr=0.01,0.03,0.1. Without an axis the study compares the "
    "four bigrams of tie_lm_head × input_rmsnorm."
)


@dataclasses.dataclass(frozen=True)
class Draft:
    """The entries of the editor, as typed."""

    axes: str
    given: Mapping[str, str]
    options: Mapping[str, str]

    def make_plan(self) -> Plan:
        """Make the plan. Raises SettingsError with all problems at once."""
        problems: list[str] = []

        def collect(parse: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            try:
                return parse()
            except SettingsError as error:
                problems.extend(error.problems)
                return {}

        axes = collect(lambda: parse_axes(line.strip() for line in self.axes.splitlines() if line.strip()))
        given = collect(lambda: parse_settings(TrainSettings, self.given))
        options = collect(lambda: parse_settings(StudySettings, self.options))
        if problems:
            raise SettingsError(problems)
        return make_plan(given, axes, options)


@dataclasses.dataclass(frozen=True)
class PlanPreview:
    """The plan of a draft and its estimated time. Without a plan, `problems` has the reasons."""

    draft: Draft
    plan: Plan | None = None
    problems: tuple[str, ...] = ()
    seconds: float | None = None  # of training, the sum over all runs
    parallel_runs: int = 1
    assumption: str = ""


def preview_plan(draft: Draft) -> PlanPreview:
    """Make and estimate the plan of a draft. Slow for many cells, and on the first request for the GPUs."""
    try:
        plan = draft.make_plan()
        settings = _sample_settings(plan)
        vocab_sizes = preview_vocab_sizes(settings)
    except SettingsError as error:
        return PlanPreview(draft, problems=tuple(error.problems))
    except UserError as error:
        return PlanPreview(draft, problems=(str(error),))
    devices = list_gpus()
    machine = this_machine(devices[0].name if devices else None)
    estimates = [estimate(each, size, machine) for each, size in zip(settings, vocab_sizes, strict=True)]
    known = [each.seconds for each in estimates if each.seconds is not None]
    full_runs = _count_full_cells(plan) * len(plan.seeds)
    seconds = sum(known) / len(known) * full_runs if len(known) == len(settings) else None
    return PlanPreview(
        draft,
        plan,
        seconds=seconds,
        parallel_runs=_count_parallel_runs(plan, settings),
        assumption=estimates[0].assumption,
    )


def _sample_settings(plan: Plan) -> list[TrainSettings]:
    """Resolve the settings of evenly spaced cells, at most `_MAX_ESTIMATED_CELLS`."""
    step = -(-len(plan.cells) // _MAX_ESTIMATED_CELLS)
    return [resolve(plan.run_settings(cell, plan.seeds[0])) for cell in plan.cells[::step]]


def _count_parallel_runs(plan: Plan, settings: Sequence[TrainSettings]) -> int:
    if plan.options.launcher == "local":
        return min(plan.total, len(allocate_slots(settings, plan.options.jobs)))
    return 1 if plan.options.jobs == AUTO else min(plan.total, int(plan.options.jobs))


def _count_full_cells(plan: Plan) -> float:
    """Return how many cells trained to the end would take as long: with halving, most of them stop early."""
    last = len(plan.rungs) - 1
    ends = [0.5 ** (last - rung) for rung in range(last + 1)]  # share of the steps at the end of each rung
    starts = [0.0, *ends]
    return sum(cells * (end - start) for cells, end, start in zip(plan.rungs, ends, starts, strict=False))


def describe_axis(line: str) -> str:
    """Return a sentence that helps to type this axis: its setting, a similar name, or the problem of a value."""
    word, _, values = line.partition("=")
    name = word.strip().removeprefix("--").replace("-", "_")
    known = fields(TrainSettings)
    if not name:
        return _AXIS_HELP
    if name not in known:
        return f"unknown setting {name}{_suggest_names(name, list(known))}"
    field = known[name]
    for value in filter(None, (value.strip() for value in values.split(","))):
        try:
            field.parse(value)
        except ValueError as error:
            return f"{name} {error}"
    default = format_default(field)
    accepted = _KINDS.get(field.metavar, field.metavar.lower())
    return f"{name}: {field.help}; {accepted}" + (f" (default: {default})" if default else "")


def _suggest_names(name: str, known: Sequence[str]) -> str:
    similar = [other for other in known if name in other]
    similar = similar or difflib.get_close_matches(name, known, _MAX_SUGGESTIONS, 0.5)
    if not similar:
        return ""
    more = " ..." if len(similar) > _MAX_SUGGESTIONS else ""
    return f"; did you mean {', '.join(similar[:_MAX_SUGGESTIONS])}{more}?"


def format_axes(plan: Plan) -> str:
    """Format the axes of a plan as they would be typed."""
    return "\n".join(f"{axis.name}={','.join(map(format_value, axis.values))}" for axis in plan.axes)


def changed_options(options: StudySettings) -> dict[str, Any]:
    """Return the options that differ from their defaults."""
    return {
        name: value
        for name, field in fields(StudySettings).items()
        if (value := getattr(options, name)) != field.default
    }


def format_cell_name(plan: Plan, cell: Cell) -> str:
    """Format a cell's name, and mark the base."""
    return f"{cell.name} (base)" if cell.name == plan.base else cell.name
