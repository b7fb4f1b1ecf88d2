"""What is typed in the plan of a new study, read: the plan that follows, how long it takes, what is wrong with it."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
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

_MOST_ESTIMATED = 100  # cells: of more, as many are looked at and stand for the others
_MOST_NAMES = 8
_TAKES = {"N": "a whole number", "X": "a number"}
_HOW = "an axis a line, such as lr=0.01,0.03,0.1; with none: the four bigrams of tie_lm_head × input_rmsnorm"


@dataclasses.dataclass(frozen=True)
class Draft:
    """Everything as it was typed."""

    axes: str
    given: Mapping[str, str]
    options: Mapping[str, str]

    def plan(self) -> Plan:
        """SettingsError names all that is wrong."""
        problems: list[str] = []

        def read(parse: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            try:
                return parse()
            except SettingsError as error:
                problems.extend(error.problems)
                return {}

        axes = read(lambda: parse_axes(line.strip() for line in self.axes.splitlines() if line.strip()))
        given = read(lambda: parse_settings(TrainSettings, self.given))
        options = read(lambda: parse_settings(StudySettings, self.options))
        if problems:
            raise SettingsError(problems)
        return make_plan(given, axes, options)


@dataclasses.dataclass(frozen=True)
class Prospect:
    """What a draft comes to. Without a plan, `problems` tells why."""

    draft: Draft
    plan: Plan | None = None
    problems: tuple[str, ...] = ()
    seconds: float | None = None  # of training, all runs together
    at_once: int = 1
    assumption: str = ""


def look_ahead(draft: Draft) -> Prospect:
    """Takes a while where there are many cells, and where there is a GPU to ask for."""
    try:
        plan = draft.plan()
    except SettingsError as error:
        return Prospect(draft, problems=tuple(error.problems))
    except UserError as error:
        return Prospect(draft, problems=(str(error),))
    found = list_gpus()
    machine = this_machine(found[0].name if found else None)
    some = plan.cells[:: -(-len(plan.cells) // _MOST_ESTIMATED)]
    settings = [resolve(plan.run_settings(cell, plan.seeds[0])) for cell in some]
    try:
        vocab_sizes = preview_vocab_sizes(settings)
    except UserError as error:
        return Prospect(draft, problems=(str(error),))
    estimates = [estimate(each, size, machine) for each, size in zip(settings, vocab_sizes, strict=True)]
    known = [each.seconds for each in estimates if each.seconds is not None]
    seconds = sum(known) / len(known) * _whole_cells(plan) * len(plan.seeds) if len(known) == len(some) else None
    at_once = 1
    if plan.options.launcher == "local":
        at_once = min(plan.total, len(allocate_slots(settings, plan.options.jobs)))
    elif plan.options.jobs != AUTO:
        at_once = min(plan.total, int(plan.options.jobs))
    return Prospect(draft, plan, seconds=seconds, at_once=at_once, assumption=estimates[0].assumption)


def _whole_cells(plan: Plan) -> float:
    """How many cells trained to their end would take as long: with halving, most end early."""
    last = len(plan.rungs) - 1
    shares = [0.5 ** (last - rung) for rung in range(last + 1)]  # of the steps, where each rung ends
    begun = [0.0, *shares]
    return sum(cells * (end - begin) for cells, end, begin in zip(plan.rungs, shares, begun, strict=False))


def hint(line: str) -> str:
    """What helps with an axis that is being typed."""
    word, _, values = line.partition("=")
    name = word.strip().removeprefix("--").replace("-", "_")
    known = fields(TrainSettings)
    if not name:
        return _HOW
    if name not in known:
        near = [other for other in known if name in other] or difflib.get_close_matches(name, known, _MOST_NAMES, 0.5)
        names = ", ".join(near[:_MOST_NAMES]) + (" ..." if len(near) > _MOST_NAMES else "")
        return f"{name} is no setting of a run" + (f"; there are {names}" if near else "")
    field = known[name]
    for value in filter(None, (value.strip() for value in values.split(","))):
        try:
            field.parse(value)
        except ValueError as error:
            return f"{name} {error}"
    default = format_default(field)
    return f"{name}: {field.help}; {_TAKES.get(field.metavar, field.metavar.lower())}" + (
        f", else {default}" if default else ""
    )


def axis_lines(plan: Plan) -> str:
    """The axes of a plan as they would be typed."""
    return "\n".join(f"{axis.name}={','.join(map(format_value, axis.values))}" for axis in plan.axes)


def changed_options(options: StudySettings) -> dict[str, Any]:
    """Those that are not as they are by default."""
    return {
        name: value
        for name, field in fields(StudySettings).items()
        if (value := getattr(options, name)) != field.default
    }


def cell_words(plan: Plan, cell: Cell) -> str:
    return f"{cell.name} (base)" if cell.name == plan.base else cell.name
