"""reproduce: train a run again from its manifest, and compare the results."""

import sys
from typing import Any, NamedTuple

from engines.errors import SettingsError, UserError
from engines.exit_codes import UNEXPECTED_EXIT
from engines.reproduce.compare import DIVERGED, TOLERANCE, compare_records
from engines.reproduce.replay import (
    RecordedRun,
    ResumePoint,
    build_record,
    create_replay,
    derive_settings,
    find_kept_start,
    find_parent,
    get_end_point,
    read_recorded_run,
)
from engines.runs import liveness
from engines.runs.launch import launch
from engines.runs.snapshot import describe_damage
from engines.settings.fields import Field
from engines.settings.train import TrainSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.comparison_text import comparison_as_json, comparison_as_text
from nanochat_tui.headless.follow import Outcome, follow, hold_signals
from nanochat_tui.headless.lookup import named_run, results_of
from nanochat_tui.headless.presenters import choose_presenter
from nanochat_tui.streams import print_json

_TOLERANCE = Field("tolerance", "reproduce", "float", TOLERANCE, "", at_least=0, at_most=1e300)


class _NotTrained(Exception):
    """The replay ended before its last step. Arguments: a sentence, the exit code."""


class _Replay(NamedTuple):
    """A run that was trained again. Up to step `after` it is a copy."""

    past: RecordedRun
    state: str
    after: int


def reproduce(options: Options) -> int:
    """Train a run again and print the comparison. Return 1 if the reproduction diverged."""
    tolerance = _parse_tolerance(options.arguments["tolerance"])
    changes = {name: value for name in ("data", "val_data", "device") if (value := options.arguments[name])}
    original = read_recorded_run(named_run(options))
    _require_results(original)
    try:
        replay = _train_again(original, original.last, options, changes)
    except _NotTrained as end:
        print(f"{end.args[0]}; nothing was compared", file=sys.stderr)
        return int(end.args[1])
    records = build_record(original, original.last), build_record(replay.past, original.last)
    found = compare_records(*records, replay.after, tolerance)
    if replay.state == "halted" and _state(original) != "halted" and found.verdict != DIVERGED:
        ended = replay.past.history.ended or {}
        raise UserError(f"the reproduction {replay.past.run.id} was halted: {ended.get('detail')}")
    for sentence in describe_damage(original.run, original.history):
        print(sentence, file=sys.stderr)
    if options.json:
        print_json(comparison_as_json(original, replay.past, replay.after, found))
    else:
        print(comparison_as_text(original.run, replay.past.run, replay.after, found))
    return 1 if found.verdict == DIVERGED else 0


def _parse_tolerance(word: str | None) -> float:
    if word is None:
        return TOLERANCE
    try:
        return float(_TOLERANCE.parse(word))
    except ValueError as error:
        raise SettingsError([f"{_TOLERANCE.flag} {error}."]) from None


def _state(past: RecordedRun) -> str:
    return liveness.derive_ended_state(past.run, past.history)


def _require_results(original: RecordedRun) -> None:
    """Raise UserError if the run is still running, or has recorded nothing to compare with."""
    run = original.run
    if liveness.is_lock_held(run.lock_path):
        raise UserError(f"run {run.id} is running. Wait until it ends, or stop it first.")
    if "facts" not in original.config or not (original.last or original.history.evals):
        raise UserError(f"run {run.id} ended before its first step, so there is nothing to compare with.")


def _train_again(past: RecordedRun, last: int, options: Options, changes: dict[str, Any]) -> _Replay:
    """Train a new run up to step `last`. The parent of a fork is trained again first if the fork's start is gone."""
    settings = derive_settings(past, changes)
    _require_same_texts(past, settings)
    start, after = _find_start(past, options, changes)
    run = create_replay(past, last, settings, results_of(options), start)
    presenter = choose_presenter(False, last)
    copied = f", starting from the checkpoint of step {after}" if after >= 0 else ""
    presenter.print_message(f"reproducing run {past.run.id} as {run.id} in {run.path}, up to step {last}{copied}")
    with hold_signals():
        outcome = follow(run, launch(run), presenter)
    if outcome.state not in ("finished", "halted"):
        raise _not_trained(run.id, outcome)
    return _Replay(read_recorded_run(run), outcome.state, after)


def _find_start(past: RecordedRun, options: Options, changes: dict[str, Any]) -> tuple[ResumePoint | None, int]:
    """Return the checkpoint that a forked run started from, and its step; None and -1 if the run is not a fork.

    Raises UserError if neither the checkpoint nor the parent run is left.
    """
    forked_from = past.config.get("parent")
    if not forked_from:
        return None, -1
    if kept := find_kept_start(past):
        return kept, forked_from["step"]
    parent = find_parent(past)
    if parent is None:
        raise UserError(
            f"run {past.run.id} cannot be reproduced: it continues run {forked_from['run']} from step "
            f"{forked_from['step']}, and neither that checkpoint nor that run is left."
        )
    replay = _train_again(read_recorded_run(parent), forked_from["step"], options, changes)
    if replay.past.history.step < forked_from["step"]:
        raise UserError(
            f"{replay.past.run.id}, the reproduction of the parent, was halted at step {replay.past.history.step}, "
            f"before the fork at step {forked_from['step']}. Compare the parent itself: reproduce {parent.id}"
        )
    return get_end_point(replay.past), replay.after


def _require_same_texts(past: RecordedRun, settings: TrainSettings) -> None:
    """Raise UserError if a text has changed since the run: nothing is trained on another text."""
    from engines.data.corpus_stats import get_corpus_stats
    from engines.data.prepare import train_corpus, val_corpus

    facts = past.config["facts"]
    texts = [("--data", settings.data, train_corpus, facts["sha256"])]
    if settings.val_data:
        texts.append(("--val-data", settings.val_data, val_corpus, facts["val_sha256"]))
    for flag, name, corpus, recorded in texts:
        print(f"reading {name}", file=sys.stderr)
        current = get_corpus_stats(corpus(settings), lambda done: None).sha256
        if current != recorded:
            raise UserError(
                f"{flag} {name} is not the text that run {past.run.id} was trained on: its sha256 is {current[:12]}…, "
                f"that of the run {recorded[:12]}…. Restore the text, or name a copy with {flag}."
            )


def _not_trained(run_id: str, outcome: Outcome) -> _NotTrained:
    """Return the exception about a replay that did not reach its last step.

    Raises UserError if it crashed on an error of the user.
    """
    state, ended, exit_code = outcome
    if state == "running":
        return _NotTrained(f"run {run_id} is still running", exit_code)
    if ended is None or state == "killed":
        return _NotTrained(f"run {run_id} was killed: its worker exited unexpectedly", UNEXPECTED_EXIT)
    if state == "crashed" and ended["traceback"] is None:
        raise UserError(f"run {run_id}: {ended['detail']}")
    detail = f": {ended['detail']}" if ended["detail"] else ""
    return _NotTrained(f"run {run_id} {state} at step {ended['step']}{detail}", exit_code or 1)
