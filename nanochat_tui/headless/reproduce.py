"""reproduce: train a run again from its manifest, and tell whether it came out the same."""

import sys
from typing import Any, NamedTuple

from engines.errors import SettingsError, UserError
from engines.reproduce.compare import (
    DEPARTS,
    IDENTICAL,
    ROUNDING,
    TOLERANCE,
    Change,
    Comparison,
    Difference,
    Tally,
    compare,
)
from engines.reproduce.replay import (
    Beginning,
    Past,
    beginning_at_the_end_of,
    kept_beginning,
    parent_of,
    past_of,
    record_of,
    replay_run,
    settings_of,
)
from engines.runs import liveness
from engines.runs.launch import launch
from engines.runs.lookup import find_run, results_dir
from engines.runs.snapshot import damage_sentences
from engines.settings.fields import Field
from engines.settings.train import TrainSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.follow import DIED, Outcome, follow, signals_held
from nanochat_tui.headless.train import presenter
from nanochat_tui.streams import print_json

_TOLERANCE = Field("tolerance", "reproduce", "float", TOLERANCE, "", at_least=0, at_most=1e300)
_HEADINGS = {
    IDENTICAL: "identical, bit for bit",
    ROUNDING: "identical to rounding",
    DEPARTS: "departs",
}


class _NotTrained(Exception):
    """The replay ended before its last step. Arguments: a sentence, the exit code."""


class _Replay(NamedTuple):
    """A run that was trained again. Up to step `after` it is a copy."""

    past: Past
    state: str
    after: int


def reproduce(options: Options) -> int:
    """0 where it comes out the same, to the bit or to rounding; 1 where it departs."""
    tolerance = _tolerance(options.words["tolerance"])
    changes = {name: value for name in ("data", "val_data", "device") if (value := options.words[name])}
    original = past_of(find_run(options.words["run"], results_dir(options.words["results_dir"])))
    _check(original)
    try:
        replay = _train_again(original, original.last, options, changes)
    except _NotTrained as end:
        print(f"{end.args[0]}; nothing was compared", file=sys.stderr)
        return int(end.args[1])
    ours, theirs = record_of(original, original.last), record_of(replay.past, original.last)
    found = compare(ours, theirs, replay.after, tolerance)
    if replay.state == "halted" and _state(original) != "halted" and found.verdict != DEPARTS:
        ended = replay.past.history.ended or {}
        raise UserError(f"its reproduction {replay.past.run.id} was halted: {ended.get('detail')}")
    for sentence in damage_sentences(original.run, original.history):
        print(sentence, file=sys.stderr)
    if options.json:
        print_json(_as_json(original, replay, found))
    else:
        print(_as_text(original, replay, found))
    return 1 if found.verdict == DEPARTS else 0


def _tolerance(word: str | None) -> float:
    if word is None:
        return TOLERANCE
    try:
        return float(_TOLERANCE.parse(word))
    except ValueError as error:
        raise SettingsError([f"{_TOLERANCE.flag} {error}."]) from None


def _state(past: Past) -> str:
    return liveness.ended_state(past.run, past.history)


def _check(original: Past) -> None:
    """UserError if there is nothing yet, or nothing at all, to compare with."""
    run = original.run
    if liveness.lock_is_held(run.lock_path):
        raise UserError(f"run {run.id} is live; wait until it ends, or stop it first.")
    if "facts" not in original.config or not (original.last or original.history.evals):
        raise UserError(f"run {run.id} ended before its first step: it has left nothing to compare with.")


# --- training again -------------------------------------------------------------------------------


def _train_again(past: Past, last: int, options: Options, changes: dict[str, Any]) -> _Replay:
    """A new run that goes as far; where the old one was a fork whose beginning is gone, its parent is first."""
    settings = settings_of(past, changes)
    _check_texts(past, settings)
    beginning, after = _beginning(past, options, changes)
    run = replay_run(past, last, settings, results_dir(options.words["results_dir"]), beginning)
    shown = presenter(False, last)
    copied = f", from the checkpoint of step {after} on" if after >= 0 else ""
    shown.say(f"run {past.run.id} again, as {run.id} in {run.path}, to step {last}{copied}")
    with signals_held():
        outcome = follow(run, launch(run), shown)
    if outcome.state not in ("finished", "halted"):
        raise _ending(run.id, outcome)
    return _Replay(past_of(run), outcome.state, after)


def _beginning(past: Past, options: Options, changes: dict[str, Any]) -> tuple[Beginning | None, int]:
    """What the run was forked from, if it was, and the step up to which that is a copy."""
    forked_from = past.config.get("parent")
    if not forked_from:
        return None, -1
    if kept := kept_beginning(past):
        return kept, forked_from["step"]
    parent = parent_of(past)
    if parent is None:
        raise UserError(
            f"run {past.run.id} goes on from step {forked_from['step']} of run {forked_from['run']}, and neither that "
            "checkpoint nor that run is left: it cannot be trained again."
        )
    replay = _train_again(past_of(parent), forked_from["step"], options, changes)
    if replay.past.history.step < forked_from["step"]:
        raise UserError(
            f"the parent's reproduction {replay.past.run.id} was halted at step {replay.past.history.step}, before the "
            f"fork at step {forked_from['step']}; compare the parent itself: reproduce {parent.id}."
        )
    return beginning_at_the_end_of(replay.past), replay.after


def _check_texts(past: Past, settings: TrainSettings) -> None:
    """Another text is another training: nothing is started."""
    from engines.data.corpus_stats import facts_of
    from engines.data.prepare import train_corpus, val_corpus

    facts = past.config["facts"]
    texts = [("--data", settings.data, train_corpus, facts["sha256"])]
    if settings.val_data:
        texts.append(("--val-data", settings.val_data, val_corpus, facts["val_sha256"]))
    for flag, name, corpus, then in texts:
        print(f"reading {name}", file=sys.stderr)
        now = facts_of(corpus(settings), lambda done: None).sha256
        if now != then:
            raise UserError(
                f"{flag} {name} is not the text that run {past.run.id} was trained on (sha256 {now[:12]}…, then "
                f"{then[:12]}…); restore it, or name a copy with {flag}."
            )


def _ending(run_id: str, outcome: Outcome) -> _NotTrained:
    """What to say of a replay that did not reach its end."""
    state, ended, code = outcome
    if state == "running":
        return _NotTrained(f"run {run_id} was left", code)
    if ended is None or state == "killed":
        return _NotTrained(f"run {run_id} was killed: its worker left no last word", DIED)
    if state == "crashed" and ended["traceback"] is None:
        raise UserError(f"run {run_id}: {ended['detail']}")
    detail = f": {ended['detail']}" if ended["detail"] else ""
    return _NotTrained(f"run {run_id} {state} at step {ended['step']}{detail}", code or 1)


# --- telling --------------------------------------------------------------------------------------


def _as_text(original: Past, replay: _Replay, found: Comparison) -> str:
    lines = [
        f"{_HEADINGS[found.verdict]}: run {original.run.id} and its reproduction {replay.past.run.id}{_where(found)}",
        f"  losses       {_tallied(found.losses, 'step')}{_unreadable(found)}{_copied(replay.after)}",
        f"  evaluations  {_tallied(found.evals, 'evaluation')}",
        f"  samples      {_tallied(found.samples, 'sample')}",
        f"  weights      {_weights(found)}",
    ]
    if found.first:
        lines.append(f"  first        {_told(found.first)}")
    if found.largest and found.largest != found.first:
        lines.append(f"  largest      {_told(found.largest)}")
    if found.first and found.is_magnified_rounding:
        begun = f"{found.first.size:.1g}"
        lines.append(
            f"  why          it began with {begun} and grew without a jump: so does rounding, magnified by training"
        )
    lines += [f"  {'environment' if index == 0 else '':<11}  {text}" for index, text in enumerate(_environment(found))]
    return "\n".join(lines)


def _where(found: Comparison) -> str:
    if found.departure:
        return f": {_told(found.departure)}"
    if found.largest:
        return f" differ by at most {found.largest.size:.2g}, where {found.tolerance:g} is tolerated"
    return ""


def _told(found: Difference) -> str:
    if isinstance(found.original, str) or isinstance(found.reproduction, str):
        return f"{found.what} at step {found.step} reads {found.original!r}, then {found.reproduction!r}"
    return (
        f"{found.what} at step {found.step} was {found.original!r}, is {found.reproduction!r} ({found.size:.2g} apart)"
    )


def _tallied(tally: Tally, what: str) -> str:
    if not tally.compared:
        return f"no {what} to compare"
    if tally.same == tally.compared:
        return f"{tally.compared:,} of {tally.compared:,} the same"
    return f"{tally.same:,} of {tally.compared:,} the same bit for bit"


def _unreadable(found: Comparison) -> str:
    return f"; {found.unreadable:,} could not be read and were not compared" if found.unreadable else ""


def _copied(after: int) -> str:
    return f"; up to step {after} they are its parent's" if after >= 0 else ""


def _weights(found: Comparison) -> str:
    if found.weights_step is None:
        return "no checkpoint in common"
    return f"{'the same' if found.weights_same else 'not the same'} at step {found.weights_step}"


def _environment(found: Comparison) -> list[str]:
    return [_changed(change) for change in found.environment] or ["the same"]


def _changed(change: Change) -> str:
    return f"{change.name}: {change.original or 'not recorded'} → {change.reproduction or 'not recorded'}"


def _as_json(original: Past, replay: _Replay, found: Comparison) -> dict[str, Any]:
    """Return one object for JSON."""
    return {
        "run": original.run.id,
        "reproduction": replay.past.run.id,
        "path": str(replay.past.run.path),
        "verdict": found.verdict,
        "tolerance": found.tolerance,
        "first_step": max(replay.after, 0) + 1,
        "last_step": min(original.last, replay.past.history.step),
        **{name: getattr(found, name)._asdict() for name in ("losses", "evals", "samples", "weights")},
        "unreadable": original.history.damage or None,
        "unreadable_losses": found.unreadable,
        "weights_step": found.weights_step,
        "weights_same": found.weights_same,
        **{name: _difference(getattr(found, name)) for name in ("first", "largest", "departure")},
        "magnified_rounding": found.is_magnified_rounding,
        "environment": [change._asdict() for change in found.environment],
    }


def _difference(found: Difference | None) -> dict[str, Any] | None:
    return None if found is None else found._asdict()
