"""The engine of each mode and model kind, imported when it is needed."""

import importlib
from typing import Protocol, cast

from engines.errors import UserError
from engines.interfaces import Array, LanguageModel, Learner
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings
from engines.system import gpus


class _Loader(Protocol):
    def load_model(self, settings: TrainSettings, vocab_size: int, weights: dict[str, Array]) -> LanguageModel: ...


class _Factory(_Loader, Protocol):
    def create_learner(self, settings: TrainSettings, vocab_size: int) -> Learner: ...


_CPU_LOADER = "engines.cpu_inference.load"
_FACTORIES = {
    ("scalar", "bigram"): "engines.scalar.factory",
    ("scalar", "mini-gpt"): "engines.scalar.factory",
    ("tensor", "bigram"): "engines.tensor.factory",
    ("tensor", "mini-gpt"): "engines.tensor.factory",
    ("tensor", "gpt"): "engines.tensor.factory",
}


def check_available(mode: str, model_kind: str) -> None:
    """Raise UserError if this version has no engine for the model."""
    if (mode, model_kind) not in _FACTORIES:
        known = " or ".join(f"--mode {mode} --model-kind {kind}" for mode, kind in _FACTORIES)
        raise UserError(f"--mode {mode} with --model-kind {model_kind} is not available. Use {known}.")


def create_learner(settings: TrainSettings, vocab_size: int) -> Learner:
    """Return a learner with initial weights and a new optimizer."""
    return _factory(settings).create_learner(settings, vocab_size)


def load_model(settings: TrainSettings, vocab_size: int, weights: dict[str, Array]) -> LanguageModel:
    """Return a model with the given weights, without an optimizer. Torch is not imported if it would use the CPU."""
    if settings.mode == "tensor" and (settings.device == "cpu" or (settings.device == AUTO and not gpus.may_exist())):
        check_available(settings.mode, settings.model_kind)
        return cast(_Loader, importlib.import_module(_CPU_LOADER)).load_model(settings, vocab_size, weights)
    return _factory(settings).load_model(settings, vocab_size, weights)


def _factory(settings: TrainSettings) -> _Factory:
    check_available(settings.mode, settings.model_kind)
    return cast(_Factory, importlib.import_module(_FACTORIES[settings.mode, settings.model_kind]))
