"""Parameter groups and their optimizers: Muon for matrices if requested, AdamW for the rest.

Learning rates, betas and weight decays of the gpt's groups are those of karpathy/nanochat (nanochat/gpt.py at 92d63d4).
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from engines.cost.parameter_shapes import is_matrix
from engines.settings.train import TrainSettings
from engines.tensor.devices import DeviceConfig
from engines.tensor.optim.adamw import SGD, AdamW
from engines.tensor.optim.flat_buffers import FlatBuffer
from engines.tensor.optim.muon import Muon, MuonOptions
from engines.tensor.optim.optimizer import Optimizer, UpdateRule

_GROUP_EPS = 1e-10
_GATE_LR = 0.2  # of the smear and backout parameters, for every batch size
_RESIDUAL_LR_MULTIPLIER = 0.01  # of the scalars' learning rate: they scale the whole residual stream
_VALUE_LR_MULTIPLIER = 0.5  # of the embedding's learning rate
_SMALL_MODEL_LR_MULTIPLIER = 0.75  # of Muon's learning rate, for a small model's other parameters


class _AdamWGroup(NamedTuple):
    """AdamW hyperparameters of one of the gpt's groups."""

    lr: float
    beta1: float
    beta2: float
    weight_decay: float


def build_optimizer(settings: TrainSettings, initial: Mapping[str, Tensor], config: DeviceConfig) -> Optimizer:
    """Return the optimizer of these settings. It owns the parameters, which are copies of `initial`, by name."""
    if settings.optimizer == "sgd":
        return Optimizer({"all": SGD(FlatBuffer(initial, config))})
    rules: dict[str, UpdateRule] = {}
    for group, names in _group_names(settings, initial).items():
        buffer = FlatBuffer({name: initial[name] for name in names}, config)
        if settings.optimizer == "muon" and is_matrix(names[0]):
            rules[group] = Muon(buffer, settings.weight_decay, MuonOptions.from_settings(settings), config)
        else:
            rules[group] = _build_adamw(settings, group, buffer)
    return Optimizer(rules)


def _group_names(settings: TrainSettings, initial: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return names of parameters by group. Muon's groups have one shape each."""
    groups: dict[str, list[str]] = {}
    for name, part in initial.items():
        if not is_matrix(name):
            group = _gpt_group(name) if settings.model_kind == "gpt" else "rest"
        elif settings.optimizer == "muon":
            group = f"matrices-{part.shape[0]}x{part.shape[1]}"
        else:
            group = "matrices"
        if settings.model_kind != "gpt" and settings.optimizer == "adamw":
            group = "all"
        groups.setdefault(group, []).append(name)
    return groups


def _gpt_group(name: str) -> str:
    if name.endswith(".value_embedding"):
        return "value_embeddings"
    return "gates" if name in ("smear_gate", "smear_scalar", "backout_scalar") else name


def _build_adamw(settings: TrainSettings, group: str, buffer: FlatBuffer) -> AdamW:
    groups = {
        "head": _AdamWGroup(settings.head_lr, 0.8, 0.96, 0.01),
        "wte": _AdamWGroup(settings.embedding_lr, 0.8, 0.995, 0.001),
        "value_embeddings": _AdamWGroup(_VALUE_LR_MULTIPLIER * settings.embedding_lr, 0.8, 0.995, 0.01),
        "residual_scalars": _AdamWGroup(_RESIDUAL_LR_MULTIPLIER * settings.scalar_lr, 0.8, 0.95, 0.05),
        "embedding_scalars": _AdamWGroup(settings.scalar_lr, 0.96, 0.95, 0.0),
        "gates": _AdamWGroup(_GATE_LR, 0.8, 0.95, 0.0),
    }
    if group in groups:
        lr, beta1, beta2, weight_decay = groups[group]
        return AdamW(buffer, lr / settings.lr, beta1, beta2, _GROUP_EPS, weight_decay)
    multiplier, weight_decay = (_SMALL_MODEL_LR_MULTIPLIER, 0.0) if group == "rest" else (1.0, settings.weight_decay)
    return AdamW(buffer, multiplier, settings.beta1, settings.beta2, settings.adam_eps, weight_decay)
