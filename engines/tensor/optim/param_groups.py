"""Which parameters learn together, and how: matrices by Muon where it is asked for, the rest by AdamW.

Rates, betas and decays of the gpt's groups are those of karpathy/nanochat (nanochat/gpt.py at 92d63d4).
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from engines.cost.parameter_shapes import is_matrix
from engines.settings.train import TrainSettings
from engines.tensor.devices import Place
from engines.tensor.optim.flat_buffers import Bank
from engines.tensor.optim.muon import Muon, MuonSwitches
from engines.tensor.optim.optimizer import SGD, AdamW, Optimizer, Rule

_GROUP_EPS = 1e-10
_GATE_LR = 0.2  # of the smear and backout parameters, whatever the batch
_RESIDUAL_SCALE = 0.01  # of the scalars' rate: what multiplies the whole stream moves slowly
_VALUE_SCALE = 0.5  # of the embedding's rate
_SMALL_MODELS_ADAMW = 0.75  # of Muon's rate, for what is no hidden matrix in a small model


class _Group(NamedTuple):
    """How some of the gpt's parameters learn by AdamW: their peak rate, betas and decay."""

    lr: float
    beta1: float
    beta2: float
    decay: float


def optimizer_of(settings: TrainSettings, initial: Mapping[str, Tensor], where: Place) -> Optimizer:
    """The optimizer that these settings ask for; it holds the parameters, which begin as `initial`."""
    if settings.optimizer == "sgd":
        return Optimizer({"all": SGD(Bank(initial, where))})
    rules: dict[str, Rule] = {}
    for group, names in _grouped(settings, initial).items():
        bank = Bank({name: initial[name] for name in names}, where)
        if settings.optimizer == "muon" and is_matrix(names[0]):
            rules[group] = Muon(bank, settings.weight_decay, MuonSwitches.of(settings), where)
        else:
            rules[group] = _adamw(settings, group, bank)
    return Optimizer(rules)


def _grouped(settings: TrainSettings, initial: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Names of parameters by group: Muon's have one shape each."""
    groups: dict[str, list[str]] = {}
    for name, part in initial.items():
        if not is_matrix(name):
            group = _role(name) if settings.model_kind == "gpt" else "rest"
        elif settings.optimizer == "muon":
            group = f"matrices-{part.shape[0]}x{part.shape[1]}"
        else:
            group = "matrices"
        if settings.model_kind != "gpt" and settings.optimizer == "adamw":
            group = "all"
        groups.setdefault(group, []).append(name)
    return groups


def _role(name: str) -> str:
    if name.endswith(".value_embedding"):
        return "value_embeddings"
    return "gates" if name in ("smear_gate", "smear_scalar", "backout_scalar") else name


def _adamw(settings: TrainSettings, group: str, bank: Bank) -> AdamW:
    groups = {
        "head": _Group(settings.head_lr, 0.8, 0.96, 0.01),
        "wte": _Group(settings.embedding_lr, 0.8, 0.995, 0.001),
        "value_embeddings": _Group(_VALUE_SCALE * settings.embedding_lr, 0.8, 0.995, 0.01),
        "residual_scalars": _Group(_RESIDUAL_SCALE * settings.scalar_lr, 0.8, 0.95, 0.05),
        "embedding_scalars": _Group(settings.scalar_lr, 0.96, 0.95, 0.0),
        "gates": _Group(_GATE_LR, 0.8, 0.95, 0.0),
    }
    if group in groups:
        lr, beta1, beta2, decay = groups[group]
        return AdamW(bank, lr / settings.lr, beta1, beta2, _GROUP_EPS, decay)
    rate, decay = (_SMALL_MODELS_ADAMW, 0.0) if group == "rest" else (1.0, settings.weight_decay)
    return AdamW(bank, rate, settings.beta1, settings.beta2, settings.adam_eps, decay)
