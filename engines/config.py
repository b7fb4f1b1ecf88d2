"""Every setting of the lab, declared once: flags, forms, files, manifests and the docs' table follow from here."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from engines.errors import SettingsError
from engines.fields import AUTO, fields, parse_all, setting

BUILT_IN_CORPORA = ("names", "stories", "pydoc", "stdlib")
UNBOUNDED_STEPS = 1_000_000  # the horizon when only a time budget or a target ends the run
_GUARD = ("off", "warn", "halt")
_GUARD_BACK = (*_GUARD, "rollback")


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """All settings of a training run. An instance is resolved: no value is `auto` any more (see `resolve`)."""

    # fmt: off
    mode: str = setting("model", "str", "scalar", "engine: pure Python numbers, or torch tensors", choices=("scalar", "tensor"))
    model_kind: str = setting("model", "str", "bigram", "model to train", choices=("bigram", "mini-gpt"))
    tie_lm_head: bool = setting("model", "bool", AUTO, "use the embedding as the head too (auto: only where that can learn)")
    input_rmsnorm: bool = setting("model", "bool", AUTO, "normalise embeddings before the first layer (auto: where the model needs it)")
    final_rmsnorm: bool = setting("model", "bool", AUTO, "normalise before the head (auto: in mini-gpt)")
    layers: int = setting("model", "int", AUTO, "blocks of attention and MLP (auto: 1; mini-gpt)", at_least=1)
    width: int = setting("model", "int", AUTO, "numbers that describe a token, a multiple of --heads (auto: 16; mini-gpt)", at_least=1)
    heads: int = setting("model", "int", AUTO, "attention heads (auto: 4; mini-gpt)", at_least=1)
    context_length: int = setting("model", "int", AUTO, "tokens in a row of training data, and that mini-gpt looks back on (auto: 8 for bigram, 16 for mini-gpt)", at_least=1, at_most=1 << 20)

    data: str = setting("data", "str", "names", f"text: file, folder, glob, or one of {', '.join(BUILT_IN_CORPORA)}")
    val_data: str | None = setting("data", "str", None, "validation text (default: a tenth of --data)", optional=True)
    documents: str = setting("data", "str", "file", "what is one document of a .txt", choices=("file", "line"))
    style: str = setting("data", "str", "classic", "text as it is, or with futuristic lines of our own at its end", choices=("classic", "futuristic"))
    corpus_size: int = setting("data", "size", 1_000_000, "bytes of text that `stories` writes", at_least=1_000)
    corpus_seed: int = setting("data", "int", 0, "seed of the text that `stories` writes", at_least=0)
    seed: int = setting("data", "int", 1337, "seed of weights, split, order of data and samples", at_least=0)

    steps: int = setting("budget", "int", AUTO, f"training steps (auto: 500; from --tokens; {UNBOUNDED_STEPS:,} if only a time budget or target is set)", at_least=0)
    tokens: int | None = setting("budget", "size", None, "stop after this many training tokens", at_least=1, optional=True)
    time_budget: float | None = setting("budget", "duration", None, "stop after this much training time", above=0, optional=True)
    target_bpb: float | None = setting("budget", "float", None, "stop when validation bits per byte reach this", above=0, optional=True)

    optimizer: str = setting("optimization", "str", "adamw", "how weights move", choices=("sgd", "adamw"), aliases=(("adam-w", "adamw"),))
    batch_size: int = setting("optimization", "int", AUTO, "rows in a step (auto: 64 for bigram, 8 for mini-gpt)", at_least=1)
    lr: float = setting("optimization", "float", AUTO, "peak learning rate (auto: by model and optimizer)", above=0)
    lr_schedule: str = setting("optimization", "str", "linear", "shape of the decay", choices=("linear", "sqrt", "cosine", "constant"))
    warmup_fraction: float = setting("optimization", "float", 0.0, "part of the steps that raises the learning rate", at_least=0, at_most=1)
    warmdown_fraction: float = setting("optimization", "float", 0.5, "part of the steps that lowers it", at_least=0, at_most=1)
    final_lr_fraction: float = setting("optimization", "float", 0.0, "learning rate at the end, as a part of the peak", at_least=0, at_most=1)
    beta1: float = setting("optimization", "float", 0.9, "AdamW's memory of the gradient", at_least=0, at_most=0.999999)
    beta2: float = setting("optimization", "float", 0.99, "AdamW's memory of its square", at_least=0, at_most=0.999999)
    adam_eps: float = setting("optimization", "float", 1e-8, "AdamW's floor under the square root", above=0)
    weight_decay: float = setting("optimization", "float", 0.0, "AdamW's decoupled decay, a part of the learning rate", at_least=0)

    eval_every: int = setting("evaluation", "int", AUTO, "steps between evaluations, 0 for only the first and last (auto: a tenth of the steps, at most 250)", at_least=0)
    eval_tokens: int = setting("evaluation", "int", AUTO, "validation tokens to score, 0 for all (auto in scalar mode: 200,000 for bigram, 4,096 for mini-gpt)", at_least=0)
    sample_every: int = setting("evaluation", "int", AUTO, "steps between samples, 0 for only the last (auto: as --eval-every)", at_least=0)
    sample_tokens: int = setting("evaluation", "int", 80, "tokens of each sample while training, 0 for no samples", at_least=0)
    temperature: float = setting("evaluation", "float", 0.8, "temperature of those samples", above=0)
    prompt: str = setting("evaluation", "str", "", "prompt of those samples")

    checkpoint_every: int = setting("checkpoints", "int", AUTO, "steps between checkpoints, 0 for only the last (auto: as --eval-every)", at_least=0)
    checkpoint_dir: str | None = setting("checkpoints", "str", None, "keep checkpoints in DIR/<run id> (default: in the run)", optional=True)
    keep_last: int = setting("checkpoints", "int", 3, "newest checkpoints to keep, 0 for all", at_least=0)
    keep_best: bool = setting("checkpoints", "bool", True, "also keep the checkpoint with the best validation loss")

    guard_nonfinite: str = setting("guards", "str", "halt", "a loss or gradient is not finite", choices=_GUARD_BACK)
    guard_spike: str = setting("guards", "str", "warn", "the loss jumps", choices=_GUARD_BACK)
    guard_spike_sigmas: float = setting("guards", "float", 8.0, "jump, in standard deviations of recent losses", above=0)
    guard_disk: str = setting("guards", "str", "halt", "less than twice a checkpoint is free on disk", choices=_GUARD)
    guard_memory: str = setting("guards", "str", "warn", "the process grows without end", choices=_GUARD)
    guard_memory_growth: float = setting("guards", "float", 1.5, "growth over the smallest recent size", above=1)
    guard_throughput: str = setting("guards", "str", "warn", "training slows down", choices=_GUARD)
    guard_throughput_drop: float = setting("guards", "float", 0.5, "part of the usual tokens a second below which it trips", above=0, at_most=1)
    # fmt: on

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.context_length


@dataclasses.dataclass(frozen=True)
class SampleSettings:
    """How text is drawn from a model."""

    # fmt: off
    prompt: str = setting("sampling", "str", "", "text to go on from")
    temperature: float = setting("sampling", "float", 0.8, "below 1 bolder for likely tokens, above 1 for unlikely ones", above=0)
    top_k: int = setting("sampling", "int", 0, "draw only from the K likeliest tokens, 0 for all", at_least=0)
    top_p: float = setting("sampling", "float", 1.0, "draw only from the likeliest tokens that hold this much probability", above=0, at_most=1)
    max_new_tokens: int = setting("sampling", "int", 200, "longest sample, in tokens", at_least=0)
    count: int = setting("sampling", "int", 1, "samples to draw", at_least=1)
    seed: int = setting("sampling", "int", 1337, "seed of the draws", at_least=0)
    # fmt: on


@dataclasses.dataclass(frozen=True)
class CountSettings:
    """What a model fitted by counting, for want of a trained one, is fitted on."""

    data: str = setting("corpus", "str", "names", "text to count, as for train")
    style: str = setting("corpus", "str", "classic", "as for train", choices=("classic", "futuristic"))


_GPT_ONLY = ("final_rmsnorm", "layers", "width", "heads")

# What `auto` means for a kind of model: learning rates are by optimizer.
_MODEL_DEFAULTS: dict[str, dict[str, Any]] = {
    "bigram": {
        "tie_lm_head": False,  # tied logits are symmetric: they cannot tell "qu" from "uq"
        "input_rmsnorm": False,
        "final_rmsnorm": False,
        "layers": 0,
        "width": 0,
        "heads": 0,
        "context_length": 8,
        "batch_size": 64,
        "lr": {"adamw": 0.03, "sgd": 3.0},
        "eval_tokens": 200_000,
    },
    "mini-gpt": {
        "tie_lm_head": False,
        "input_rmsnorm": True,
        "final_rmsnorm": True,
        "layers": 1,
        "width": 16,
        "heads": 4,
        "context_length": 16,
        "batch_size": 8,
        "lr": {"adamw": 0.015, "sgd": 0.5},
        "eval_tokens": 4096,
    },
}


def resolve(given: Mapping[str, object]) -> TrainSettings:
    """The settings of a run from what was asked for, every `auto` decided; SettingsError names all that is wrong."""
    values = {name: field.default for name, field in fields(TrainSettings).items()}
    values |= parse_all(TrainSettings, given)
    problems = _contradictions(values)
    if problems:
        raise SettingsError(problems)
    model = dict(_MODEL_DEFAULTS[values["model_kind"]])
    model["lr"] = model["lr"][values["optimizer"]]
    _fill(values, model)
    if values["heads"] and values["width"] % values["heads"]:
        raise SettingsError([f"--width {values['width']} must be a multiple of --heads {values['heads']}."])
    _fill(values, {"steps": _auto_steps(values)})
    _fill(values, {"eval_every": min(250, max(1, values["steps"] // 10))})
    _fill(values, {"sample_every": values["eval_every"], "checkpoint_every": values["eval_every"]})
    return TrainSettings(**values)


def _fill(values: dict[str, Any], decided: Mapping[str, Any]) -> None:
    for name, value in decided.items():
        if values[name] == AUTO:
            values[name] = value


def _auto_steps(values: Mapping[str, Any]) -> int:
    if values["tokens"] is not None:
        tokens_per_step: int = values["batch_size"] * values["context_length"]
        return -(-int(values["tokens"]) // tokens_per_step)
    if values["time_budget"] is not None or values["target_bpb"] is not None:
        return UNBOUNDED_STEPS
    return 500


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    problems = []
    if values["model_kind"] == "bigram":
        for name in _GPT_ONLY:
            if values[name] not in (AUTO, False):
                problems.append(f"--{name.replace('_', '-')} does not fit --model-kind bigram, which has no such part.")
    if values["warmup_fraction"] + values["warmdown_fraction"] > 1:
        problems.append("--warmup-fraction and --warmdown-fraction together must be at most 1.")
    return problems
