"""sample: text from a trained model, streamed as it is drawn."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from engines import checkpoints, registry
from engines.config import CountSettings, SampleSettings, TrainSettings
from engines.data import tokenizers
from engines.data.tokenizers import CharTokenizer
from engines.engine import LanguageModel
from engines.errors import LabError
from engines.runs.history import read_history
from engines.runs.store import Run, find_run, results_dir, runs_in_view
from engines.sampling import Token, generate
from nanochat_tui.commands import Options
from nanochat_tui.headless.follow import leave_broken_pipe


class Speaker(NamedTuple):
    """Who speaks, and one line that says who that is."""

    model: LanguageModel
    tokenizer: CharTokenizer
    origin: str


def sample(options: Options) -> int:
    """Draw `count` samples."""
    names = SampleSettings.__dataclass_fields__
    settings = SampleSettings(**{name: value for name, value in options.settings.items() if name in names})
    speaker = _speaker(options)
    if not options.json:
        print(speaker.origin, file=sys.stderr)
    try:
        for index in range(settings.count):
            tokens = generate(speaker.model, speaker.tokenizer, settings, index)
            write = _write_json if options.json else _write_text
            write(settings, index, tokens)
    except BrokenPipeError:
        return leave_broken_pipe()
    return 0


def _write_text(settings: SampleSettings, index: int, tokens: Any) -> None:
    sys.stdout.write(settings.prompt)
    for token in tokens:
        sys.stdout.write(token.text)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


def _write_json(settings: SampleSettings, index: int, tokens: Any) -> None:
    text = settings.prompt
    for token in tokens:
        text += token.text
        print(json.dumps({"kind": "token", "sample": index, **_token_json(token)}), flush=True)
    print(json.dumps({"kind": "done", "sample": index, "prompt": settings.prompt, "text": text}), flush=True)


def _token_json(token: Token) -> dict[str, Any]:
    alternatives = [{"text": text, "probability": probability} for text, probability in token.alternatives]
    return {"id": token.id, "text": token.text, "probability": token.probability, "alternatives": alternatives}


# --- who speaks -----------------------------------------------------------------------------------


def _speaker(options: Options) -> Speaker:
    """The named run or checkpoint; else, where a corpus is named, its counts; else the latest run; else counts."""
    named = options.words["run"]
    results = results_dir(options.words["results_dir"])
    if named and (Path(named) / "state.json").exists():
        return open_checkpoint(Path(named))
    if named:
        return open_checkpoint(checkpoint_of(find_run(named, results), options.words["checkpoint"]))
    counted = CountSettings.__dataclass_fields__.keys() & options.settings.keys()
    filters = {name: options.words[name] for name in ("mode", "model_kind") if options.words[name]}
    if not counted:
        for run in reversed(runs_in_view(results)):
            if _fits(run, filters) and checkpoints.list_steps(run.checkpoints_dir):
                return open_checkpoint(checkpoint_of(run, options.words["checkpoint"]))
    if options.words["checkpoint"]:
        raise LabError(f"there is no run in {results} to take --checkpoint {options.words['checkpoint']} from.")
    if filters.get("model_kind", "bigram") != "bigram":
        kind = filters["model_kind"]
        raise LabError(
            f"there is no {kind} run in {results}; train one: nanochat-tui --no-ui train --model-kind {kind}"
        )
    return _counted(options)


def _fits(run: Run, filters: dict[str, str]) -> bool:
    try:
        resolved = run.config["resolved"]
    except LabError:
        return False
    return all(resolved[name] == value for name, value in filters.items())


def checkpoint_of(run: Run, wanted: str | None) -> Path:
    """The folder of a run's checkpoint: a step, `best`, or `last` (also None)."""
    folder = run.checkpoints_dir
    steps = checkpoints.list_steps(folder)
    if not steps:
        raise LabError(f"run {run.id} has no checkpoint yet.")
    if wanted in (None, "last"):
        return checkpoints.path_of(folder, steps[-1])
    step = _best_step(run) if wanted == "best" else int(wanted) if str(wanted).isdigit() else None
    if step not in steps:
        raise LabError(
            f"run {run.id} has no checkpoint {wanted!r}; there are best, last and {', '.join(map(str, steps))}."
        )
    return checkpoints.path_of(folder, step)


def _best_step(run: Run) -> int | None:
    best = read_history(run).best_eval
    return best["step"] if best else None


def open_checkpoint(path: Path) -> Speaker:
    """The model and tokenizer of a checkpoint folder."""
    checkpoint = checkpoints.load(path, with_optimizer=False)
    tokenizer = tokenizers.from_json(checkpoint.tokenizer)
    settings = TrainSettings(**checkpoint.settings)
    model = registry.load_model(settings, tokenizer.vocab_size, checkpoint.learner.model)
    name = path.absolute().parent.parent.name
    return Speaker(model, tokenizer, f"run {name}, step {checkpoint.progress['step']}: {settings.model_kind}")


def _counted(options: Options) -> Speaker:
    from engines.scalar.counts import fit_counts

    names = CountSettings.__dataclass_fields__
    settings = CountSettings(**{name: value for name, value in options.settings.items() if name in names})
    model, tokenizer = fit_counts(settings)
    return Speaker(
        model, tokenizer, f"no trained run is asked for or there: a bigram fitted by counting {settings.data}"
    )
