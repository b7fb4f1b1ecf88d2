"""The plan of a run: what the settings in the form would cost."""

from functools import partial

from rich.text import Text
from textual.widgets import Static

from engines.cost.long_run import describe_long_run
from engines.cost.machine import Machine
from engines.cost.plan import Estimate, estimate
from engines.cost.vocab_size import expected_vocab_size
from engines.errors import SettingsError
from engines.output.units import format_bytes, format_duration
from engines.settings.applicability import describe_ineffective_settings
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from screens.shared.background import run_in_background
from screens.shared.formatting import format_text

_LABEL_WIDTH = 11  # cells


class PlanView(Static):
    """Shows parameters, tokens, memory and time, or the problems of the settings."""

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._ascii = ascii

    def show(
        self, given: dict[str, object], problems: list[str], machine: Machine, vocabulary: tuple[int, str] | None = None
    ) -> None:
        """Compute the plan in a thread and show it. `vocabulary`: its size and a note, once the text has been read."""
        compute = partial(render_plan, given, problems, machine, vocabulary, self._ascii)
        run_in_background(self, compute, self.update, group="plan")


def render_plan(
    given: dict[str, object], problems: list[str], machine: Machine, vocabulary: tuple[int, str] | None, ascii: bool
) -> Text:
    """Return the plan of these settings, or their problems. Slow for large models, so call it in a thread."""
    if problems:
        return _render_problems(problems, ascii)
    try:
        settings = resolve(given)
    except SettingsError as error:
        return _render_problems(error.problems, ascii)
    vocab_size, note = vocabulary or expected_vocab_size(settings)
    plan = estimate(settings, vocab_size, machine)
    text = _render_estimate(settings, plan, vocab_size, note)
    long_run = describe_long_run(settings, plan, machine)
    for warning in [*describe_ineffective_settings(given, settings), *([long_run] if long_run else [])]:
        text.append(f"\n{warning}", "bold")
    return text


def _render_problems(problems: list[str], ascii: bool) -> Text:
    return Text(format_text("\n".join(f"✕ {problem}" for problem in problems), ascii), "bold")


def _render_estimate(settings: TrainSettings, plan: Estimate, vocab_size: int, note: str) -> Text:
    row_bytes = format_bytes(plan.memory.activations_per_row)
    rows = [
        ("Model", f"{settings.mode} {settings.model_kind}, {plan.parameter_count:,} parameters"),
        ("Tokens", f"{plan.tokens:,} in {plan.steps:,} steps of {plan.tokens_per_step:,}"),
        ("Vocabulary", f"{vocab_size:,} {note}".strip()),
        ("Compute", f"{plan.flops_per_token / 1e6:,.3g} MFLOP per token"),
        ("Memory", f"{format_bytes(plan.memory.fixed)}, plus {row_bytes} per row of the micro-batch"),
        ("Time", f"about {format_duration(plan.seconds)}: {plan.assumption}" if plan.seconds else plan.assumption),
    ]
    text = Text()
    for label, value in rows:
        text.append(f"{label:<{_LABEL_WIDTH}}", "dim").append(f"{value}\n")
    return text
