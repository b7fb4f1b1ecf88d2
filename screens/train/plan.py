"""What the form's settings would take, told while they are typed."""

from functools import partial

from rich.text import Text
from textual.widgets import Static

from engines.cost.machine import Machine
from engines.cost.plan import Estimate, estimate
from engines.cost.vocab_size import expected_vocab_size
from engines.errors import SettingsError
from engines.output.units import format_bytes, format_duration
from engines.settings.applicability import warnings_about
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from screens.shared.background import run_in_background


class PlanView(Static):
    """Parameters, tokens, memory and time; or what is wrong."""

    def show(
        self, given: dict[str, object], problems: list[str], machine: Machine, vocabulary: tuple[int, str] | None = None
    ) -> None:
        """Compute the plan of the given settings, or list their problems. `vocabulary`: its size and a note, once the
        text was read."""
        compute = partial(plan_text, given, problems, machine, vocabulary)
        run_in_background(self, compute, self.update, group="plan")


def plan_text(
    given: dict[str, object], problems: list[str], machine: Machine, vocabulary: tuple[int, str] | None
) -> Text:
    """Return the plan of the given settings, or their problems. Large models take a while, so it runs in a thread."""
    if problems:
        return _wrong(problems)
    try:
        settings = resolve(given)
    except SettingsError as error:
        return _wrong(error.problems)
    vocab_size, note = vocabulary or expected_vocab_size(settings)
    text = _told(settings, estimate(settings, vocab_size, machine), vocab_size, note)
    for warning in warnings_about(given, settings):
        text.append(f"\n{warning}", "bold")
    return text


def _wrong(problems: list[str]) -> Text:
    return Text("\n".join(f"✕ {problem}" for problem in problems), "bold")


def _told(settings: TrainSettings, plan: Estimate, vocab_size: int, note: str) -> Text:
    row_bytes = format_bytes(plan.memory.activations_per_row)
    lines = [
        ("model", f"{settings.mode} {settings.model_kind}, {plan.parameter_count:,} parameters"),
        ("tokens", f"{plan.tokens:,} in {plan.steps:,} steps of {plan.tokens_per_step:,}"),
        ("vocabulary", f"{vocab_size:,} {note}".strip()),
        ("arithmetic", f"{plan.flops_per_token / 1e6:,.3g} MFLOP a token"),
        ("memory", f"{format_bytes(plan.memory.fixed)}, and {row_bytes} a row at once"),
        ("time", f"about {format_duration(plan.seconds)}: {plan.assumption}" if plan.seconds else plan.assumption),
    ]
    text = Text()
    for name, told in lines:
        text.append(f"{name:<11}", "dim").append(f"{told}\n")
    return text
