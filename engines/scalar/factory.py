"""Builds the scalar engine's models and learners from settings."""

from engines.interfaces import Array, LanguageModel, Learner
from engines.random_stream import RandomStream
from engines.scalar.learner import ScalarLearner, load_parameters
from engines.scalar.models import Bigram, MiniGPT, Parameters, bigram_parameters, gpt_parameters
from engines.scalar.optimizers import SGD, AdamW
from engines.settings.train import TrainSettings


def new_learner(settings: TrainSettings, vocab_size: int) -> Learner:
    model = new_model(settings, vocab_size)
    if settings.optimizer == "sgd":
        return ScalarLearner(model, SGD(model.parameters))
    betas = settings.beta1, settings.beta2
    return ScalarLearner(model, AdamW(model.parameters, *betas, settings.adam_eps, settings.weight_decay))


def load_model(settings: TrainSettings, vocab_size: int, weights: dict[str, Array]) -> LanguageModel:
    model = new_model(settings, vocab_size)
    load_parameters(model.parameters, weights)
    return model


def new_model(settings: TrainSettings, vocab_size: int) -> Bigram | MiniGPT:
    parameters = initial_parameters(settings, vocab_size)
    if settings.model_kind == "bigram":
        return Bigram(parameters, settings.input_rmsnorm)
    return MiniGPT(parameters, settings.heads, settings.input_rmsnorm, settings.final_rmsnorm)


def initial_parameters(settings: TrainSettings, vocab_size: int) -> Parameters:
    """The numbers that training begins with, the same in every engine."""
    tied, stream = settings.tie_lm_head, RandomStream(settings.seed, "weights")
    if settings.model_kind == "bigram":
        return bigram_parameters(vocab_size, tied, stream)
    return gpt_parameters(vocab_size, settings.width, settings.layers, settings.context_length, tied, stream)
