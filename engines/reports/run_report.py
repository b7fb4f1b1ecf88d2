"""The sections of one run: how it stands, its curves, what it wrote, what happened to it, and how to have it again."""

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engines.errors import UserError
from engines.events import Event
from engines.reports import plot_svg
from engines.reports.markup import Safe, commands, paragraph, section, table, tag
from engines.reports.page import figure
from engines.reports.run_plots import run_plots
from engines.runs import liveness
from engines.runs.comparison import format_setting as told_setting
from engines.runs.comparison import get_section
from engines.runs.metrics import METRICS, number, told
from engines.runs.portable import FACT_OF, PortablePaths, find_corpora
from engines.runs.record import Record
from engines.settings.fields import fields
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

MOST_ROWS = 40  # of a table of events; the rest is counted
_MOST_SAMPLES = 6
_MOST_CHARACTERS = 4000  # of a sample or a traceback
_IN_BRIEF = ("state", "steps", "tokens", "parameters", "final_loss", "val_bpb", "best_bpb", "best_step",
             "tokens_per_second", "mfu", "train_seconds", "guards")  # fmt: skip
Pictures = list[tuple[str, Safe]]  # file stem and SVG


def run_sections(whole: Record) -> tuple[list[Safe], Pictures]:
    """Everything about one run, and its pictures."""
    record = whole.handed_on
    plots = run_plots(record)
    pictures = [(plot.name, plot_svg.svg(plot)) for plot in plots]
    figures = [figure(svg, plot.caption) for plot, (_, svg) in zip(plots, pictures, strict=True)]
    sections = [
        section("In brief", _ending(record), _brief(record)),
        section("Curves", *figures),
        section("Samples", *samples(record.history.samples)),
        section("Evaluations", _evals(record)),
        section("Guards", _guards(record) or paragraph("None spoke.")),
        section("Checkpoints", _checkpoints(record)),
        section("Settings", _settings(record)),
        section("Environment", environment(record)),
        section("How it went", _course(record)),
        section("How to reproduce it", commands(how_to_reproduce(whole))),
    ]
    return sections, pictures


def lead(record: Record) -> Safe:
    """A run in a sentence."""
    settings = record.handed_on.settings
    what = f"{settings.get('mode', '?')} {settings.get('model_kind', '?')} on {settings.get('data', '?')}"
    return standing(record.state, what, record.config)


def standing(state: str, what: str, config: Mapping[str, Any]) -> Safe:
    """How it stands, what it is and since when."""
    made = config.get("created_at")
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(made)) if isinstance(made, int | float) else "at some time"
    live = " It goes on: this is how it stood when this file was written." if state in liveness.LIVE_STATES else ""
    return paragraph(f"{liveness.GLYPHS[state]} {state}. {what}, begun {when}.{live}")


def _brief(record: Record) -> Safe:
    chosen = [metric for metric in METRICS if metric.name in _IN_BRIEF]
    return table((), [(metric.label, told(metric, metric.value(record))) for metric in chosen])


def _ending(record: Record) -> Safe:
    """Why it ended, where there is more to say than the state."""
    ended = record.portable.inside(liveness.find_ending(record.run, record.history))
    parts = []
    if record.state == "killed":
        parts.append(paragraph("Its worker died without a last word; it goes on from its last checkpoint with resume."))
    if ended and ended["detail"]:
        parts.append(paragraph(ended["detail"]))
    if ended and ended["traceback"]:
        parts.append(tag("pre", ended["traceback"][-_MOST_CHARACTERS:]))
    if record.state == "crashed" and not ended:
        tail = record.portable.text(liveness.read_log_tail(record.run).decode(errors="replace"))
        parts.append(tag("pre", tail[-_MOST_CHARACTERS:]))
    if record.history.damage:
        parts.append(paragraph(record.history.damage.capitalize()))
    return Safe("".join(parts))


def samples(found: Sequence[Event]) -> list[Safe]:
    """From the first to the last, evenly: how the model learned to write."""
    count = min(_MOST_SAMPLES, len(found))
    places = sorted({round(index * (len(found) - 1) / max(1, count - 1)) for index in range(count)})
    return [
        tag(
            "div",
            tag("p", f"Step {found[place]['step']:,}", class_="faint"),
            tag("pre", tag("strong", found[place]["prompt"]), found[place]["text"][:_MOST_CHARACTERS]),
        )
        for place in places
    ]


def _evals(record: Record) -> Safe:
    head = ["step", "loss", "bits a byte", "floor", "best so far"]
    rows = [
        [f"{event['step']:,}", f"{number(event['loss']):.4f}", f"{number(event['bpb']):.4f}",
         "" if event["floor_bpb"] is None else f"{event['floor_bpb']:.4f}", "yes" if event["best"] else ""]
        for event in record.history.evals
    ]  # fmt: skip
    return newest(head, rows)


def _guards(record: Record) -> Safe:
    rows = [
        [f"{event['step']:,}", event["rule"], event["action"], _figure(event["value"]), _figure(event["threshold"]),
         record.portable.text(event["hint"])]
        for event in record.history.guards
    ]  # fmt: skip
    return newest(["step", "rule", "action", "value", "threshold", "hint"], rows)


def _figure(value: float | None) -> str:
    return "nan" if value is None else f"{value:.5g}"


def _checkpoints(record: Record) -> Safe:
    kept = set(record.kept_checkpoints())
    rows = [
        [f"{event['step']:,}", f"{event['bytes']:,}", f"{event['seconds']:.3f}",
         "kept" if event["step"] in kept else "", record.portable.text(event["path"])]
        for event in record.history.checkpoints
    ]  # fmt: skip
    return newest(["step", "bytes", "seconds to write", "", "where"], rows)


def newest(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Safe:
    """The last rows of a table that may be long."""
    left = len(rows) - MOST_ROWS
    note = paragraph(f"The last {MOST_ROWS} of {len(rows):,}.") if left > 0 else Safe("")
    return Safe(note + table(head, rows[-MOST_ROWS:]))


# --- what it was asked, and where ---------------------------------------------------------------------


def _settings(record: Record) -> Safe:
    """What differs from the defaults first, the rest for whoever asks."""
    changed = _changed(record)
    rows: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for name, value in record.settings.items():
        rows[name in changed].append((name, told_setting(value)))
    rest = tag("details", tag("summary", f"{len(rows[False])} others"), table((), rows[False])) if rows[False] else ""
    return Safe(f"{table(('changed from its default', ''), rows[True])}{rest}")


def _changed(record: Record) -> set[str]:
    given = get_section(record.config, "given")
    try:
        defaults = resolve({"model_kind": record.settings.get("model_kind")})
    except UserError:
        return set(given)
    known = fields(TrainSettings)
    return {name for name in given if name not in known or getattr(defaults, name) != given[name]}


def environment(record: Record) -> Safe:
    """Code, packages, hardware but for the machine's name, the corpus by its hash, and what the engine chose."""
    rows = [
        (f"{title}: {name.replace('_', ' ')}", _fact(value))
        for group, title in (("code", "code"), ("hardware", "hardware"), ("facts", "data"))
        for name, value in get_section(record.config, group).items()
        if name != "host"
    ]
    engine = record.history.engine or {}
    rows += [(f"engine: {name}", _fact(engine[name])) for name in ("torch", "gpu", "peak_flops") if engine.get(name)]
    for choice in _objects(engine.get("choices")):
        rows.append((f"engine: {choice.get('setting')}", f"{choice.get('value')} ({choice.get('why')})"))
    return table((), rows)


def _objects(found: object) -> Iterable[Mapping[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _fact(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return told_setting(value)


def _course(record: Record) -> Safe:
    """Each start of a worker and each step back, in the order of the log."""
    history = record.history
    rows = [(f"start {event['start']}", f"after {event['t']:,.1f} s") for event in history.runs]
    rows += [("went back", f"to step {step:,}") for step in history.rewinds]
    return table((), rows)


def flags_of(given: Mapping[str, Any], names: PortablePaths) -> list[str]:
    """What was asked of a run as words of a command, but for where its checkpoints are kept."""
    known = fields(TrainSettings)
    told = {
        name: names.text(told_setting(value)) if name in FACT_OF else told_setting(value)
        for name, value in given.items()
        if name in known and name != "checkpoint_dir"
    }
    return [f"{known[name].flag} {shlex.quote(value)}" for name, value in told.items()]


def how_to_reproduce(record: Record) -> list[str]:
    """Commands for a shell. A manifest from elsewhere may hold anything, so words are quoted."""
    commit = get_section(record.config, "code").get("commit")
    corpora = find_corpora(record.config)
    names = PortablePaths(record.run.path.parent.parent, dict.fromkeys(corpora))
    flags = flags_of(get_section(record.config, "given"), names)
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    lines += [f"# {names.text(path)} has the sha256 {sha256}" for path, sha256 in corpora.items() if sha256]
    lines.append("# where its results are: trains again, and compares loss by loss")
    lines.append(f"nanochat-tui --no-ui reproduce {shlex.quote(record.run.id)}")
    if not get_section(record.config, "parent"):
        lines += ["# from nothing but the settings", " ".join(["nanochat-tui --no-ui train", *flags])]
    return lines
