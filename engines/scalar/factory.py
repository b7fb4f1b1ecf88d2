"""Builds the scalar engine's models and learners from settings."""

from engines.config import TrainSettings
from engines.engine import LanguageModel, Learner
from engines.safetensors import Array
from engines.scalar.bigram import Bigram, BigramLearner
from engines.scalar.optimizers import SGD, AdamW, Matrix


def new_learner(settings: TrainSettings, vocab_size: int) -> Learner:
    model = _bigram(settings, vocab_size)
    return BigramLearner(model, _optimizer(settings, model.parameters))


def load_model(settings: TrainSettings, vocab_size: int, weights: dict[str, Array]) -> LanguageModel:
    model = _bigram(settings, vocab_size)
    model.load(weights)
    return model


def _bigram(settings: TrainSettings, vocab_size: int) -> Bigram:
    return Bigram(vocab_size, settings.tie_lm_head, settings.input_rmsnorm, settings.seed)


def _optimizer(settings: TrainSettings, parameters: dict[str, Matrix]) -> SGD | AdamW:
    if settings.optimizer == "sgd":
        return SGD(parameters)
    return AdamW(parameters, settings.beta1, settings.beta2, settings.adam_eps, settings.weight_decay)
