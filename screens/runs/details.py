"""The details of a run as text: rendered in a thread, shown next to the table or on a page."""

import time
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from engines.events import Event
from engines.output.units import format_age, format_bytes
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_decimal, format_state, format_text
from screens.widgets.wrapping import shown

_LABEL_WIDTH = 12  # cells
_SAMPLE_LENGTH = 400  # characters of the last sample


def render_details(watch: WatchedRun, ascii: bool) -> Text:
    """Return one line per property: state, how it ended, model, settings, best evaluation, last sample."""
    history, settings, config = watch.history, watch.part("resolved"), watch.config
    text = Text(overflow="fold")

    def add_line(name: str, value: str, style: str = "") -> None:
        if value:
            text.append(f"{name:<{_LABEL_WIDTH}}", "dim").append(f"{format_text(value, ascii)}\n", style)

    add_line("Run", f"{watch.run.id}  {format_state(watch, ascii)}", "bold")
    add_line("Problem", watch.problem, "bold")
    add_line("Ended", _format_ending(watch))
    add_line("Command", suggest_command(watch))
    add_line("Model", _format_model(settings, watch.part("facts")))
    add_line("Corpus", _format_corpus(settings))
    add_line("Options", format_flags(watch.part("given")) or "defaults")
    add_line("Parent", _format_parent(watch.part("parent")))
    add_line("Best", _format_best(history.best_eval))
    add_line("Checkpoint", _format_checkpoint(list(history.checkpoints)))
    add_line(
        "Guards",
        f"{len(history.guards)} alert{'s' * (len(history.guards) > 1)}; press g to show them" if history.guards else "",
    )
    add_line("Created", _format_creation(config))
    add_line("Path", str(watch.run.path))
    samples = list(history.samples)
    if samples:
        add_line("Sample", f"at step {samples[-1]['step']:,}")
        text.append(shown(samples[-1]["prompt"]), "underline").append(shown(samples[-1]["text"][:_SAMPLE_LENGTH]))
    return text


def render_summary(watch: WatchedRun, ascii: bool) -> Text:
    """Return one line for small terminals: the state and its problem, how it ended, or a command to continue."""
    more = watch.problem or _format_ending(watch) or suggest_command(watch)
    return Text(format_text(f"{format_state(watch, ascii)}  {more}", ascii))


def suggest_command(watch: WatchedRun) -> str:
    """Return the shell command that continues with this run."""
    if watch.problem and not watch.config:
        return f"nanochat-tui rm {watch.run.id}"
    if watch.state == "finished":
        return f"nanochat-tui sample {watch.run.id}"
    return f"nanochat-tui {'attach' if watch.is_live else 'resume'} {watch.run.id}"


def format_flags(given: Mapping[str, Any]) -> str:
    """Return settings as command-line flags."""
    return " ".join(f"--{name.replace('_', '-')} {_format_flag_value(value)}" for name, value in given.items())


def _format_flag_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _format_ending(watch: WatchedRun) -> str:
    if watch.is_live:
        return ""
    ended = watch.ending
    if ended is None:
        step = f"at step {watch.history.step:,}"
        return f"{step}, exited unexpectedly (out of memory?)" if watch.state == "killed" else step
    detail = f": {ended['detail']}" if ended["detail"] else ""
    return f"at step {ended['step']:,}{detail}"


def _format_model(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    kind = f"{settings.get('mode', '?')} {settings.get('model_kind', '?')}"
    if not facts:
        return kind
    return f"{kind}, {facts.get('parameters', 0):,} parameters, vocabulary {facts.get('vocab_size', 0):,}"


def _format_corpus(settings: Mapping[str, Any]) -> str:
    names = [settings.get(name) for name in ("data", "tokenizer", "style")]
    return ", ".join(str(name) for name in names if name)


def _format_parent(parent: Mapping[str, Any]) -> str:
    return f"run {parent.get('run')}, step {parent.get('step')}" if parent else ""


def _format_best(event: Event | None) -> str:
    return f"{format_decimal(event['bpb'])} bpb at step {event['step']:,}" if event else ""


def _format_checkpoint(kept: list[Event]) -> str:
    if not kept:
        return "none yet"
    return f"step {kept[-1]['step']:,}, {format_bytes(kept[-1]['bytes'])}"


def _format_creation(config: Mapping[str, Any]) -> str:
    created_at = config.get("created_at")
    if not isinstance(created_at, int | float):
        return ""
    return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(created_at))}, {format_age(created_at)} ago"
