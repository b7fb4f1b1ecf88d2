"""Loads a model and its tokenizer from a checkpoint: for sampling, inspection and the sampling process."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from engines import registry
from engines.checkpoints.files import load_checkpoint
from engines.data import tokenizers
from engines.data.tokenizers import Tokenizer
from engines.errors import UserError
from engines.interfaces import LanguageModel
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings


class LoadedModel(NamedTuple):
    """A trained model with its tokenizer. `origin`: one line that names the run, the step and the kind of model."""

    model: LanguageModel
    tokenizer: Tokenizer
    origin: str


def load_trained_model(path: Path, device: str = AUTO, compile: str = "off") -> LoadedModel:
    """Load the model of a checkpoint folder onto a device of this machine, whatever device it was trained on.

    `compile`: whether generation on a GPU is compiled, "on" or "off". Raises UserError if the checkpoint is missing or
    damaged, or was written by another version.
    """
    checkpoint = load_checkpoint(path, with_optimizer=False)
    tokenizer = tokenizers.from_json(checkpoint.tokenizer)
    try:
        settings = TrainSettings(**checkpoint.settings)
    except TypeError:
        raise UserError(
            f"{path} cannot be loaded: it has settings that this version does not know. "
            "Use the version of nanochat-tui that wrote it."
        ) from None
    settings = dataclasses.replace(settings, device=device, compile=compile)
    model = registry.load_model(settings, tokenizer.vocab_size, checkpoint.learner.model)
    origin = f"run {_get_run_name(path)}, step {checkpoint.progress['step']}: {settings.model_kind}"
    if model.compiles_decoding:
        origin += ", compiled after its first token, which takes about half a minute"
    return LoadedModel(model, tokenizer, origin)


def _get_run_name(path: Path) -> str:
    """Return the id of the run: checkpoints are in its folder `checkpoints`, or in DIR/<run id> of --checkpoint-dir."""
    folder = path.absolute().parent
    return folder.parent.name if folder.name == "checkpoints" else folder.name
