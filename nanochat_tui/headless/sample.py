"""sample: text from a trained model, streamed as it is drawn."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engines.checkpoints.folders import get_checkpoint_path, is_checkpoint, list_steps
from engines.errors import UserError
from engines.generation.load import Speaker, open_checkpoint
from engines.generation.sampling import Token, generate, side_by_side
from engines.numbered_names import parse_number
from engines.runs.history import read_history
from engines.runs.lookup import find_run, require_name, results_dir, runs_in_view
from engines.runs.snapshot import damage_sentences
from engines.runs.store import Run
from engines.settings.fields import fields, parse_all
from engines.settings.requirements import flag_of
from engines.settings.sample import CountSettings, SampleSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.prompt_file import read_prompt
from nanochat_tui.streams import print_json, unfiltered


def sample(options: Options) -> int:
    """Draw `count` samples, some side by side."""
    names = SampleSettings.__dataclass_fields__
    given = {name: value for name, value in options.settings.items() if name in names}
    if options.words["prompt_file"]:
        given |= parse_all(SampleSettings, {"prompt": read_prompt(options.words["prompt_file"], given)})
    settings = SampleSettings(**given)
    _warn_without_effect(options)
    speaker = _speaker(options, settings)
    if not options.json:
        print(speaker.origin, file=sys.stderr)
    for samples in side_by_side(settings.count):
        tokens = generate(speaker.model, speaker.tokenizer, settings, samples)
        write = _write_json if options.json else _write_text
        write(settings.prompt, samples, tokens)
    return 0


def _write_text(prompt: str, samples: Sequence[int], tokens: Iterator[Token]) -> None:
    """The samples one after another, each as it comes: those that run ahead of their turn are kept until then."""
    kept = dict.fromkeys(samples, prompt)
    ended: set[int] = set()
    turn = iter(samples)
    current = next(turn)
    for token in tokens:
        kept[token.sample] += token.text
        if token.last:
            kept[token.sample] += "\n"
            ended.add(token.sample)
        _show(kept, current)
        while current in ended and (following := next(turn, None)) is not None:
            current = following
            _show(kept, current)
    if not ended:  # nothing was to be drawn
        for sample in samples:
            _show({sample: f"{prompt}\n"}, sample)


def _show(kept: dict[int, str], sample: int) -> None:
    """Write the text: every character to a pipe, where it is data; no control character to a terminal."""
    stream = sys.stdout if sys.stdout.isatty() else unfiltered(sys.stdout)
    stream.write(kept[sample])
    stream.flush()
    kept[sample] = ""


def _write_json(prompt: str, samples: Sequence[int], tokens: Iterator[Token]) -> None:
    texts = dict.fromkeys(samples, prompt)
    for token in tokens:
        texts[token.sample] += token.text
        print_json({"kind": "token", "sample": token.sample, **_token_json(token)})
    for sample, text in texts.items():
        print_json({"kind": "done", "sample": sample, "prompt": prompt, "text": text})


def _token_json(token: Token) -> dict[str, Any]:
    alternatives = [{"text": text, "probability": probability} for text, probability in token.alternatives]
    return {"id": token.id, "text": token.text, "probability": token.probability, "alternatives": alternatives}


# --- who speaks -----------------------------------------------------------------------------------


def _warn_without_effect(options: Options) -> None:
    """Print a sentence for each option that has no effect because a run is named."""
    useless = [name for name in ("mode", "model_kind") if options.words[name]]
    useless += [name for name in fields(CountSettings) if name in options.settings]
    for name in useless if options.words["run"] else ():
        print(f"warning: {flag_of(name)} has no effect: RUN {options.words['run']} is given.", file=sys.stderr)


def _speaker(options: Options, settings: SampleSettings) -> Speaker:
    """The named run or checkpoint; else, where a corpus is named, its counts; else the latest run; else counts."""
    named = options.words["run"]
    results = results_dir(options.words["results_dir"])
    how = settings.device, settings.compile
    if named is not None:
        require_name(named)
    if named and is_checkpoint(named):
        return open_checkpoint(Path(named), *how)
    if named:
        return open_checkpoint(checkpoint_of(find_run(named, results), options.words["checkpoint"]), *how)
    counted = CountSettings.__dataclass_fields__.keys() & options.settings.keys()
    filters = {name: options.words[name] for name in ("mode", "model_kind") if options.words[name]}
    if not counted:
        for run in reversed(runs_in_view(results)):
            if _fits(run, filters) and list_steps(run.checkpoints_dir):
                return open_checkpoint(checkpoint_of(run, options.words["checkpoint"]), *how)
    if options.words["checkpoint"]:
        raise UserError(f"there is no run in {results} to take --checkpoint {options.words['checkpoint']} from.")
    if filters.get("model_kind", "bigram") != "bigram":
        kind = filters["model_kind"]
        raise UserError(
            f"there is no {kind} run in {results}; train one: nanochat-tui --no-ui train --model-kind {kind}"
        )
    return _counted(options)


def _fits(run: Run, filters: dict[str, str]) -> bool:
    try:
        resolved = run.config["resolved"]
    except UserError:
        return False
    return all(resolved[name] == value for name, value in filters.items())


def checkpoint_of(run: Run, wanted: str | None) -> Path:
    """The folder of a run's checkpoint: a step, `best`, or `last` (also None)."""
    folder = run.checkpoints_dir
    steps = list_steps(folder)
    if not steps:
        raise UserError(f"run {run.id} has no checkpoint yet.")
    if wanted in (None, "last"):
        return get_checkpoint_path(folder, steps[-1])
    kept = f"Use another one: last, {', '.join(map(str, steps))}."
    step = _best_step(run, kept) if wanted == "best" else parse_number(str(wanted))
    if step not in steps:
        untrained = "" if step else " (the untrained model)"
        name = f"of its best evaluation, step {step}{untrained}" if wanted == "best" else repr(wanted)
        raise UserError(f"run {run.id} has no checkpoint {name}. {kept}")
    return get_checkpoint_path(folder, step)


def _best_step(run: Run, kept: str) -> int:
    history = read_history(run)
    for sentence in damage_sentences(run, history):
        print(sentence, file=sys.stderr)
    best = history.best_eval
    if best is None:
        raise UserError(f"run {run.id} has no best checkpoint: no evaluation has finite bits per byte. {kept}")
    return int(best["step"])


def _counted(options: Options) -> Speaker:
    from engines.scalar.counts import fit_counts

    names = CountSettings.__dataclass_fields__
    settings = CountSettings(**{name: value for name, value in options.settings.items() if name in names})
    model, tokenizer = fit_counts(settings)
    return Speaker(
        model, tokenizer, f"no trained run is asked for or there: a bigram fitted by counting {settings.data}"
    )
