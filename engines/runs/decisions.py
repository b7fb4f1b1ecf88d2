"""Decisions of a run for its machine: read from its `engine` event, and repeated when the run continues.

Each of them changes the order of sums, and so the last bits of every number.
"""

import contextlib
import dataclasses
from typing import Any

from engines.events import Event
from engines.interfaces import Decision
from engines.settings.fields import AUTO, fields
from engines.settings.train import TrainSettings

_AUTO = {"device": AUTO, "dtype": AUTO, "compile": AUTO, "threads": 0, "micro_batch": 0}  # the value that means `auto`
_MACHINE = ("gpu", "torch")  # fields of the event besides its choices


def get_choices_by_setting(engine: Event) -> dict[str, str]:
    """Return the values of an `engine` event by setting; `8` for `8 of 64 rows`."""
    return {choice["setting"]: str(choice["value"]).partition(" of ")[0] for choice in engine["choices"]}


def parse_recorded_decisions(engine: Event) -> dict[str, Any]:
    """Return the settings that an `engine` event records. Version 0.1 recorded only those that were `auto`."""
    known = fields(TrainSettings)
    recorded: dict[str, Any] = {}
    for setting, value in get_choices_by_setting(engine).items():
        name = setting.replace("-", "_")
        if name in _AUTO:
            with contextlib.suppress(ValueError):  # the event may come from another program
                recorded[name] = known[name].parse(value)
    return recorded


def repeat_decisions(settings: TrainSettings, engine: Event) -> TrainSettings:
    """Return the settings with every `auto` decided as recorded, unless they request another device."""
    recorded = parse_recorded_decisions(engine)
    if settings.device not in (AUTO, recorded.get("device", settings.device)):
        return settings
    repeated = {name: value for name, value in recorded.items() if getattr(settings, name) == _AUTO[name]}
    return dataclasses.replace(settings, **repeated)


def explain_decision(decision: Decision, requested: TrainSettings, settings: TrainSettings) -> Decision:
    """Return the decision, with the right reason if an `auto` value was decided by an earlier start of the run."""
    name = decision.setting.replace("-", "_")
    if name in _AUTO and getattr(requested, name) != getattr(settings, name):
        return decision._replace(reason="as at the first start of the run")
    return decision


def describe_differences(before: Event, now: Event) -> str:
    """Return a sentence about the differences between two starts of a run; empty if there are none."""
    ours, theirs = get_choices_by_setting(now), get_choices_by_setting(before)
    values = [(name, theirs[name], ours[name]) for name in ours.keys() & theirs.keys()]
    if ours.get("device") == "cpu" and ours.get("compile") == theirs.get("compile") == "off":
        values = [value for value in values if value[0] != "threads"]  # which changes no bit
    values += [(name, before[name], now[name]) for name in _MACHINE if name in before and name in now]
    differences = [f"{name} is {is_now} and was {was}" for name, was, is_now in sorted(values) if was != is_now]
    if not differences:
        return ""
    return f"the rest of the run is exact only up to rounding: {', '.join(differences)}."
