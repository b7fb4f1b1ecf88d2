"""sample: generate text from a trained model, and print it while it is generated."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engines.checkpoints.folders import get_checkpoint_path, is_checkpoint, list_steps
from engines.errors import UserError
from engines.generation.load import LoadedModel, load_trained_model
from engines.generation.sampling import GeneratedToken, generate, split_into_groups
from engines.numbered_names import parse_number
from engines.runs.history import read_history
from engines.runs.lookup import find_run, list_runs_in_view, require_name
from engines.runs.snapshot import describe_damage
from engines.runs.store import Run
from engines.settings.fields import fields, parse_settings
from engines.settings.requirements import flag_of
from engines.settings.sample import CountSettings, SampleSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import results_of
from nanochat_tui.headless.prompt_file import read_prompt
from nanochat_tui.streams import print_json, unfiltered


def sample(options: Options) -> int:
    """Generate `count` samples, several of them in one batch."""
    settings = _sample_settings(options)
    _print_warnings(options)
    model = _load_model(options, settings)
    if not options.json:
        print(model.origin, file=sys.stderr)
    for samples in split_into_groups(settings.count):
        tokens = generate(model.model, model.tokenizer, settings, samples)
        write = _write_json if options.json else _write_text
        write(settings.prompt, samples, tokens)
    return 0


def _sample_settings(options: Options) -> SampleSettings:
    """Return the settings of the command line, with the prompt of --prompt-file."""
    names = SampleSettings.__dataclass_fields__
    given = {name: value for name, value in options.settings.items() if name in names}
    if options.arguments["prompt_file"]:
        given |= parse_settings(SampleSettings, {"prompt": read_prompt(options.arguments["prompt_file"], given)})
    return SampleSettings(**given)


def _print_warnings(options: Options) -> None:
    """Print a sentence for each option that has no effect because a run is named."""
    if not options.arguments["run"]:
        return
    unused = [name for name in ("mode", "model_kind") if options.arguments[name]]
    unused += [name for name in fields(CountSettings) if name in options.settings]
    for name in unused:
        print(f"warning: {flag_of(name)} has no effect: RUN {options.arguments['run']} is given.", file=sys.stderr)


# --- output -------------------------------------------------------------------------------------------


def _write_text(prompt: str, samples: Sequence[int], tokens: Iterator[GeneratedToken]) -> None:
    """Print the samples one after another while they are generated.

    Samples of a batch grow at the same time: the text of later ones is kept until the earlier ones have ended.
    """
    pending = dict.fromkeys(samples, prompt)
    ended: set[int] = set()
    order = iter(samples)
    current = next(order)
    for token in tokens:
        pending[token.sample] += token.text
        if token.last:
            pending[token.sample] += "\n"
            ended.add(token.sample)
        _write_pending(pending, current)
        while current in ended and (following := next(order, None)) is not None:
            current = following
            _write_pending(pending, current)
    if not ended:  # no token was requested
        for sample in samples:
            _write_pending({sample: f"{prompt}\n"}, sample)


def _write_pending(pending: dict[int, str], sample: int) -> None:
    """Write the text: every character to a pipe, where it is data; no control character to a terminal."""
    stream = sys.stdout if sys.stdout.isatty() else unfiltered(sys.stdout)
    stream.write(pending[sample])
    stream.flush()
    pending[sample] = ""


def _write_json(prompt: str, samples: Sequence[int], tokens: Iterator[GeneratedToken]) -> None:
    texts = dict.fromkeys(samples, prompt)
    for token in tokens:
        texts[token.sample] += token.text
        print_json({"kind": "token", "sample": token.sample, **_token_as_json(token)})
    for sample, text in texts.items():
        print_json({"kind": "done", "sample": sample, "prompt": prompt, "text": text})


def _token_as_json(token: GeneratedToken) -> dict[str, Any]:
    alternatives = [{"text": text, "probability": probability} for text, probability in token.alternatives]
    return {"id": token.id, "text": token.text, "probability": token.probability, "alternatives": alternatives}


# --- the model ----------------------------------------------------------------------------------------


def _load_model(options: Options, settings: SampleSettings) -> LoadedModel:
    """Load the named run or checkpoint; else a bigram of counts if --data is given; else the latest run; else counts.

    Raises UserError if there is no such model.
    """
    named = options.arguments["run"]
    results = results_of(options)
    device = settings.device, settings.compile
    if named is not None:
        require_name(named)
    if named and is_checkpoint(named):
        return load_trained_model(Path(named), *device)
    if named:
        return load_trained_model(checkpoint_of(find_run(named, results), options.arguments["checkpoint"]), *device)
    filters = {name: options.arguments[name] for name in ("mode", "model_kind") if options.arguments[name]}
    counts_are_requested = bool(CountSettings.__dataclass_fields__.keys() & options.settings.keys())
    if not counts_are_requested and (run := _latest_run(results, filters)):
        return load_trained_model(checkpoint_of(run, options.arguments["checkpoint"]), *device)
    if options.arguments["checkpoint"]:
        raise UserError(f"--checkpoint {options.arguments['checkpoint']}: no run with a checkpoint in {results}.")
    if filters.get("model_kind", "bigram") != "bigram":
        kind = filters["model_kind"]
        raise UserError(f"no {kind} run in {results}. Train one: nanochat-tui --no-ui train --model-kind {kind}")
    return _fit_counts(options)


def _latest_run(results: Path, filters: dict[str, str]) -> Run | None:
    """Return the newest run with a checkpoint whose settings equal the filters."""
    for run in reversed(list_runs_in_view(results)):
        if _matches(run, filters) and list_steps(run.checkpoints_dir):
            return run
    return None


def _matches(run: Run, filters: dict[str, str]) -> bool:
    try:
        resolved = run.config["resolved"]
    except UserError:
        return False
    return all(resolved[name] == value for name, value in filters.items())


def checkpoint_of(run: Run, step_name: str | None) -> Path:
    """Return the folder of a run's checkpoint: of a step, `best`, or `last` (also None).

    Raises UserError, which names the steps that have a checkpoint, if there is none.
    """
    folder = run.checkpoints_dir
    steps = list_steps(folder)
    if not steps:
        raise UserError(f"run {run.id} has no checkpoint yet.")
    if step_name in (None, "last"):
        return get_checkpoint_path(folder, steps[-1])
    available = f"Available: last, {', '.join(map(str, steps))}."
    step = _best_step(run, available) if step_name == "best" else parse_number(str(step_name))
    if step not in steps:
        untrained = "" if step else " (the untrained model)"
        name = f"of its best evaluation, step {step}{untrained}" if step_name == "best" else repr(step_name)
        raise UserError(f"run {run.id} has no checkpoint {name}. {available}")
    return get_checkpoint_path(folder, step)


def _best_step(run: Run, available: str) -> int:
    """Return the step with the lowest bits per byte. Raises UserError if no evaluation is finite."""
    history = read_history(run)
    for sentence in describe_damage(run, history):
        print(sentence, file=sys.stderr)
    best = history.best_eval
    if best is None:
        raise UserError(f"run {run.id} has no best checkpoint: no evaluation has finite bits per byte. {available}")
    return int(best["step"])


def _fit_counts(options: Options) -> LoadedModel:
    """Fit a bigram by counting the text of --data."""
    from engines.scalar.counts import fit_counts

    names = CountSettings.__dataclass_fields__
    settings = CountSettings(**{name: value for name, value in options.settings.items() if name in names})
    model, tokenizer = fit_counts(settings)
    return LoadedModel(model, tokenizer, f"no run: a bigram of the counts in {settings.data}")
