"""The sections of the report of one run: summary, curves, samples, events, settings, and how to reproduce it."""

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engines.errors import UserError
from engines.events import Event
from engines.reports.markup import Safe, render_commands, render_paragraph, render_section, render_table, tag
from engines.reports.page import render_figure
from engines.reports.plot_svg import draw_plot
from engines.reports.run_plots import plot_run
from engines.runs import liveness
from engines.runs.comparison import format_setting, get_section
from engines.runs.metrics import METRICS, format_metric, to_float
from engines.runs.portable import FACT_OF, PortablePaths, find_corpora
from engines.runs.record import RunRecord
from engines.settings.fields import fields
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

MAX_ROWS = 40  # of a table of events
_MAX_SAMPLES = 6
_MAX_CHARACTERS = 4000  # of a sample or a traceback
_SUMMARY = ("state", "steps", "tokens", "parameters", "final_loss", "val_bpb", "best_bpb", "best_step",
            "tokens_per_second", "mfu", "train_seconds", "guards")  # fmt: skip
Figures = list[tuple[str, Safe]]  # file stem and SVG


def render_sections(original: RunRecord) -> tuple[list[Safe], Figures]:
    """Render all sections and plots of a run."""
    record = original.shareable
    plots = plot_run(record)
    figures = [(plot.name, draw_plot(plot)) for plot in plots]
    captioned = [render_figure(svg, plot.caption) for plot, (_, svg) in zip(plots, figures, strict=True)]
    sections = [
        render_section("Summary", _render_ending(record), _render_summary(record)),
        render_section("Curves", *captioned),
        render_section("Samples", *render_samples(record.history.samples)),
        render_section("Evaluations", _render_evals(record)),
        render_section("Guards", _render_guards(record) or render_paragraph("No guard was triggered.")),
        render_section("Checkpoints", _render_checkpoints(record)),
        render_section("Settings", _render_settings(record)),
        render_section("Environment", render_environment(record)),
        render_section("Starts and resumes", _render_starts(record)),
        render_section("How to reproduce", render_commands(_list_reproduction_commands(original))),
    ]
    return sections, figures


def render_lead(record: RunRecord) -> Safe:
    """Describe a run in one sentence."""
    settings = record.shareable.settings
    subject = f"{settings.get('mode', '?')} {settings.get('model_kind', '?')} on {settings.get('data', '?')}"
    return render_state(record.state, subject, record.config)


def render_state(state: str, subject: str, config: Mapping[str, Any]) -> Safe:
    """Describe the state of a run or study, what it is, and when it was started."""
    created_at = config.get("created_at")
    is_known = isinstance(created_at, int | float)
    started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(created_at)) if is_known else "at an unknown time"
    is_live = state in liveness.LIVE_STATES
    note = " It is still active: the report shows its state when this file was written." if is_live else ""
    return render_paragraph(f"{liveness.GLYPHS[state]} {state}. {subject}, started {started}.{note}")


def _render_summary(record: RunRecord) -> Safe:
    metrics = [metric for metric in METRICS if metric.name in _SUMMARY]
    return render_table((), [(metric.label, format_metric(metric, metric.compute(record))) for metric in metrics])


def _render_ending(record: RunRecord) -> Safe:
    """Explain why the run ended, if there is more to say than its state."""
    ended = record.portable.inside(liveness.find_ending(record.run, record.history))
    parts = []
    if record.state == "killed":
        parts.append(render_paragraph("The worker exited unexpectedly. resume continues from the last checkpoint."))
    if ended and ended["detail"]:
        parts.append(render_paragraph(ended["detail"]))
    if ended and ended["traceback"]:
        parts.append(tag("pre", ended["traceback"][-_MAX_CHARACTERS:]))
    if record.state == "crashed" and not ended:
        tail = record.portable.text(liveness.read_log_tail(record.run).decode(errors="replace"))
        parts.append(tag("pre", tail[-_MAX_CHARACTERS:]))
    if record.history.damage:
        parts.append(render_paragraph(record.history.damage.capitalize()))
    return Safe("".join(parts))


def render_samples(events: Sequence[Event]) -> list[Safe]:
    """Render samples from the first to the last, at even distances."""
    count = min(_MAX_SAMPLES, len(events))
    indices = sorted({round(number * (len(events) - 1) / max(1, count - 1)) for number in range(count)})
    return [
        tag(
            "div",
            tag("p", f"Step {event['step']:,}", class_="faint"),
            tag("pre", tag("strong", event["prompt"]), event["text"][:_MAX_CHARACTERS]),
        )
        for event in (events[index] for index in indices)
    ]


# --- tables of events ---------------------------------------------------------------------------------


def _render_evals(record: RunRecord) -> Safe:
    head = ["step", "loss", "bits per byte", "entropy bound", "best so far"]
    rows = [
        [f"{event['step']:,}", f"{to_float(event['loss']):.4f}", f"{to_float(event['bpb']):.4f}",
         "" if event["floor_bpb"] is None else f"{event['floor_bpb']:.4f}", "yes" if event["best"] else ""]
        for event in record.history.evals
    ]  # fmt: skip
    return _render_last_rows(head, rows)


def _render_guards(record: RunRecord) -> Safe:
    rows = [
        [f"{event['step']:,}", event["rule"], event["action"], _figure(event["value"]), _figure(event["threshold"]),
         record.portable.text(event["hint"])]
        for event in record.history.guards
    ]  # fmt: skip
    return _render_last_rows(["step", "rule", "action", "value", "threshold", "hint"], rows)


def _figure(value: float | None) -> str:
    return "nan" if value is None else f"{value:.5g}"


def _render_checkpoints(record: RunRecord) -> Safe:
    available = set(record.list_checkpoints())
    rows = [
        [f"{event['step']:,}", f"{event['bytes']:,}", f"{event['seconds']:.3f}",
         "yes" if event["step"] in available else "", record.portable.text(event["path"])]
        for event in record.history.checkpoints
    ]  # fmt: skip
    return _render_last_rows(["step", "bytes", "seconds to write", "available", "path"], rows)


def _render_last_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Safe:
    """Render a table of at most MAX_ROWS rows."""
    is_cut = len(rows) > MAX_ROWS
    note = render_paragraph(f"The last {MAX_ROWS} of {len(rows):,}.") if is_cut else Safe("")
    return Safe(note + render_table(head, rows[-MAX_ROWS:]))


def _render_starts(record: RunRecord) -> Safe:
    """List the starts of workers, and the steps from which training was resumed."""
    history = record.history
    rows = [(f"start {event['start']}", f"after {event['t']:,.1f} s") for event in history.runs]
    rows += [("resumed", f"from step {step:,}") for step in history.rewinds]
    return render_table((), rows)


# --- settings, environment and commands ---------------------------------------------------------------


def _render_settings(record: RunRecord) -> Safe:
    """Render the settings that differ from their defaults, and the others in a block that can be opened."""
    changed = _changed_settings(record)
    rows: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for name, value in record.settings.items():
        rows[name in changed].append((name, format_setting(value)))
    others = tag("summary", f"{len(rows[False])} settings with default or derived values")
    rest = tag("details", others, render_table((), rows[False])) if rows[False] else ""
    return Safe(f"{render_table(('changed from the default', ''), rows[True])}{rest}")


def _changed_settings(record: RunRecord) -> set[str]:
    given = get_section(record.config, "given")
    try:
        defaults = resolve({"model_kind": record.settings.get("model_kind")})
    except UserError:
        return set(given)
    known = fields(TrainSettings)
    return {name for name in given if name not in known or getattr(defaults, name) != given[name]}


def render_environment(record: RunRecord) -> Safe:
    """Render code version, packages, hardware without the host name, the corpus' hash, and the engine's choices."""
    rows = [
        (f"{title}: {name.replace('_', ' ')}", _format_fact(value))
        for group, title in (("code", "code"), ("hardware", "hardware"), ("facts", "data"))
        for name, value in get_section(record.config, group).items()
        if name != "host"
    ]
    engine = record.history.engine or {}
    names = ("torch", "gpu", "peak_flops")
    rows += [(f"engine: {name}", _format_fact(engine[name])) for name in names if engine.get(name)]
    for choice in _objects(engine.get("choices")):
        rows.append((f"engine: {choice.get('setting')}", f"{choice.get('value')} ({choice.get('why')})"))
    return render_table((), rows)


def _objects(value: object) -> Iterable[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _format_fact(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return format_setting(value)


def format_flags(given: Mapping[str, Any], paths: PortablePaths) -> list[str]:
    """Return settings as command-line options, without the folder of checkpoints."""
    known = fields(TrainSettings)
    values = {
        name: paths.text(format_setting(value)) if name in FACT_OF else format_setting(value)
        for name, value in given.items()
        if name in known and name != "checkpoint_dir"
    }
    return [f"{known[name].flag} {shlex.quote(value)}" for name, value in values.items()]


def _list_reproduction_commands(record: RunRecord) -> list[str]:
    """Return shell commands. All values are quoted, since a manifest from elsewhere may contain anything."""
    commit = get_section(record.config, "code").get("commit")
    corpora = find_corpora(record.config)
    paths = PortablePaths(record.run.path.parent.parent, dict.fromkeys(corpora))
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    lines += [f"# {paths.text(path)} has the sha256 {sha256}" for path, sha256 in corpora.items() if sha256]
    lines.append("# with the results directory of the run: train again and compare every loss")
    lines.append(f"nanochat-tui --no-ui reproduce {shlex.quote(record.run.id)}")
    if not get_section(record.config, "parent"):
        flags = format_flags(get_section(record.config, "given"), paths)
        lines += ["# from the settings alone", " ".join(["nanochat-tui --no-ui train", *flags])]
    return lines
