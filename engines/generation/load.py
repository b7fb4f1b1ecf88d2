"""Opens a checkpoint folder so that its model can speak: one way for sampling, inspection and the sampling process."""

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
    """Who speaks, and one line that says who that is."""

    model: LanguageModel
    tokenizer: Tokenizer
    origin: str


def load_trained_model(path: Path, device: str = AUTO, compile: str = "off") -> LoadedModel:
    """The model and tokenizer of a checkpoint folder, on a device of this machine whatever it was trained on.
    `compile`: whether generation on a GPU is compiled, "on" or "off".

    UserError if it is not there, damaged, or of another version of the lab.
    """
    checkpoint = load_checkpoint(path, with_optimizer=False)
    tokenizer = tokenizers.from_json(checkpoint.tokenizer)
    try:
        settings = TrainSettings(**checkpoint.settings)
    except TypeError:
        raise UserError(
            f"{path} has settings that this version does not know; use the version that wrote it."
        ) from None
    settings = dataclasses.replace(settings, device=device, compile=compile)
    model = registry.load_model(settings, tokenizer.vocab_size, checkpoint.learner.model)
    origin = f"run {_get_run_name(path)}, step {checkpoint.progress['step']}: {settings.model_kind}"
    if getattr(model, "compiles_decoding", False):  # a gpt's, on a GPU
        origin += ", which is compiled behind its first token, for about half a minute"
    return LoadedModel(model, tokenizer, origin)


def _get_run_name(path: Path) -> str:
    """Checkpoints lie in the run's folder `checkpoints`, or in DIR/<run id> of --checkpoint-dir."""
    folder = path.absolute().parent
    return folder.parent.name if folder.name == "checkpoints" else folder.name
