"""All about one run, in words: read in a thread, shown beside the table or on a page of its own."""

import time
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from engines.events import Event
from engines.output.units import format_age, format_bytes
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_decimal, format_state, format_text
from screens.widgets.wrapping import shown

_SAMPLE = 400  # characters of the last sample


def detail(watch: WatchedRun, ascii: bool) -> Text:
    """Lines that each begin with a name."""
    history, settings, config = watch.history, watch.part("resolved"), watch.config
    text = Text(overflow="fold")

    def line(name: str, told: str, style: str = "") -> None:
        if told:
            text.append(f"{name:<8}", "dim").append(f"{format_text(told, ascii)}\n", style)

    line("run", f"{watch.run.id}  {format_state(watch, ascii)}", "bold")
    line("problem", watch.problem, "bold")
    line("ended", _ending(watch))
    line("back", come_back(watch))
    line("model", _model(settings, watch.part("facts")))
    line("corpus", _corpus(settings))
    line("given", flags(watch.part("given")) or "nothing: all defaults")
    line("from", _parent(watch.part("parent")))
    line("best", _best(history.best_eval))
    line("kept", _checkpoint(list(history.checkpoints)))
    line("guards", f"{len(history.guards)} tripped; g tells" if history.guards else "")
    line("made", _made(config))
    line("in", str(watch.run.path))
    samples = list(history.samples)
    if samples:
        line("said", f"at step {samples[-1]['step']:,}")
        text.append(shown(samples[-1]["prompt"]), "underline").append(shown(samples[-1]["text"][:_SAMPLE]))
    return text


def one_line(watch: WatchedRun, ascii: bool) -> Text:
    """Its state, and what is wrong with it, how it ended or how to come back, for terminals without room for more."""
    more = watch.problem or _ending(watch) or come_back(watch)
    return Text(format_text(f"{format_state(watch, ascii)}  {more}", ascii))


def come_back(watch: WatchedRun) -> str:
    """What to type in a shell."""
    if watch.problem and not watch.config:
        return f"nanochat-tui rm {watch.run.id}"
    if watch.state == "finished":
        return f"nanochat-tui sample {watch.run.id}"
    return f"nanochat-tui {'attach' if watch.is_live else 'resume'} {watch.run.id}"


def flags(given: Mapping[str, Any]) -> str:
    """Settings as they were asked for on the command line."""
    return " ".join(f"--{name.replace('_', '-')} {_word(value)}" for name, value in given.items())


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ending(watch: WatchedRun) -> str:
    if watch.is_live:
        return ""
    ended = watch.ending
    if ended is None:
        step = f"at step {watch.history.step:,}"
        return f"{step}, without a last word (out of memory?)" if watch.state == "killed" else step
    detail = f": {ended['detail']}" if ended["detail"] else ""
    return f"at step {ended['step']:,}{detail}"


def _model(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    kind = f"{settings.get('mode', '?')} {settings.get('model_kind', '?')}"
    if not facts:
        return kind
    return f"{kind}, {facts.get('parameters', 0):,} parameters, vocabulary {facts.get('vocab_size', 0):,}"


def _corpus(settings: Mapping[str, Any]) -> str:
    names = [settings.get(name) for name in ("data", "tokenizer", "style")]
    return ", ".join(str(name) for name in names if name)


def _parent(parent: Mapping[str, Any]) -> str:
    return f"run {parent.get('run')}, step {parent.get('step')}" if parent else ""


def _best(event: Event | None) -> str:
    return f"{format_decimal(event['bpb'])} bpb at step {event['step']:,}" if event else ""


def _checkpoint(kept: list[Event]) -> str:
    if not kept:
        return "no checkpoint yet"
    return f"checkpoint of step {kept[-1]['step']:,}, {format_bytes(kept[-1]['bytes'])}"


def _made(config: Mapping[str, Any]) -> str:
    created_at = config.get("created_at")
    if not isinstance(created_at, int | float):
        return ""
    return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(created_at))}, {format_age(created_at)} ago"
