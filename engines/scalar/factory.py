"""The scalar engine's models and learners, built from settings."""

from engines.interfaces import Array, LanguageModel, Learner
from engines.random_stream import RandomStream
from engines.scalar.learner import ScalarLearner, load_parameters
from engines.scalar.models import Parameters, ScalarBigram, ScalarMiniGPT, init_bigram, init_mini_gpt
from engines.scalar.optimizers import ScalarAdamW, ScalarSGD
from engines.settings.train import TrainSettings


def create_learner(settings: TrainSettings, vocab_size: int) -> Learner:
    """Return a newly initialised model with its optimizer."""
    model = create_model(settings, vocab_size)
    if settings.optimizer == "sgd":
        return ScalarLearner(model, ScalarSGD(model.parameters))
    betas = settings.beta1, settings.beta2
    return ScalarLearner(model, ScalarAdamW(model.parameters, *betas, settings.adam_eps, settings.weight_decay))


def load_model(settings: TrainSettings, vocab_size: int, weights: dict[str, Array]) -> LanguageModel:
    """Return a model with the weights of a checkpoint."""
    model = create_model(settings, vocab_size)
    load_parameters(model.parameters, weights)
    return model


def create_model(settings: TrainSettings, vocab_size: int) -> ScalarBigram | ScalarMiniGPT:
    """Return a newly initialised model."""
    parameters = init_parameters(settings, vocab_size)
    if settings.model_kind == "bigram":
        return ScalarBigram(parameters, settings.input_rmsnorm)
    return ScalarMiniGPT(parameters, settings.heads, settings.input_rmsnorm, settings.final_rmsnorm)


def init_parameters(settings: TrainSettings, vocab_size: int) -> Parameters:
    """Return the initial parameters of a bigram or mini-gpt. The tensor engine starts from the same numbers."""
    tied, stream = settings.tie_lm_head, RandomStream(settings.seed, "weights")
    if settings.model_kind == "bigram":
        return init_bigram(vocab_size, tied, stream)
    return init_mini_gpt(vocab_size, settings.width, settings.layers, settings.context_length, tied, stream)
