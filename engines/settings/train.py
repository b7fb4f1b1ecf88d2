"""The settings of a training run, declared once: flags, forms, files, manifests and docs follow from here."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from engines.settings.fields import AUTO, setting
from engines.settings.requirements import NONZERO, needs, when

BUILT_IN_CORPORA = ("names", "stories", "pydoc", "stdlib")
UNBOUNDED_STEPS = 1_000_000  # of a run that only a time budget or a target ends
LARGEST_FACTOR = 1e300  # of factors and rates: moderate multiples still fit a float
LARGEST_SEED = (1 << 63) - 1  # torch stores seeds in signed 64 bits
_MAX_STEPS = 10**12
_MAX_TOKENS = 10**18
_MAX_ROWS = 1 << 24  # with 65,536 tokens each, 2**40 tokens per step
_MAX_SECONDS = 100 * 365 * 86_400  # a hundred years
_GUARD = ("off", "warn", "halt")
_GUARD_WITH_ROLLBACK = (*_GUARD, "rollback")
_GUARD_ON = _GUARD_WITH_ROLLBACK[1:]

# Requirements of the settings below.
_ATTENTION = needs(unmet_is_error=True, model_kind=("mini-gpt", "gpt"))
_GPT = needs(unmet_is_error=True, model_kind="gpt")
_TENSOR = needs(unmet_is_error=True, mode="tensor")
_ROTARY_HEADS = when("heads of at least 4 channels", lambda values: values["width"] >= 4 * values["heads"])
_SEVERAL_LAYERS = when(
    "--layers of at least 2: the last layer sees the whole context", lambda values: values["layers"] > 1
)
_SHORT_WINDOW = when("--window below --context-length", lambda values: values["window"] < values["context_length"])
_WINDOWED_LAYER = when("an S in --window-pattern for a layer before the last", lambda values: _has_window(values))
_GPT_ADAMW = _GPT + needs(optimizer=("adamw", "muon"))
_SCALARS = when(
    "--residual-scalars or --embedding-scalars",
    lambda values: values["residual_scalars"] or values["embedding_scalars"],
)
_STORIES = when("--data or --val-data stories", lambda values: "stories" in (values["data"], values["val_data"]))
_RECORD_FILES = when("a JSON or .parquet file in --data or --val-data", lambda values: _has_record_files(values))
_PLAIN_TEXT = when("a .txt file in --data or --val-data", lambda values: _has_plain_text(values))
_DECAY = needs(lr_schedule=("linear", "sqrt", "cosine"))
_WARMDOWN = when(
    "--lr-schedule linear, sqrt or cosine",
    lambda values: values["lr_schedule"] != "constant" or values["momentum_schedule"],
)
_BETAS = when(
    "--optimizer adamw, or muon with --model-kind bigram or mini-gpt",
    lambda values: values["optimizer"] == "adamw" or (values["optimizer"] == "muon" and values["model_kind"] != "gpt"),
)
_WEIGHT_DECAY = when(
    "--optimizer adamw, or muon with --model-kind mini-gpt or gpt",
    lambda values: (
        values["optimizer"] == "adamw" or (values["optimizer"] == "muon" and values["model_kind"] != "bigram")
    ),
)
_MUON = needs(unmet_is_error=True, optimizer="muon") + needs(model_kind=("mini-gpt", "gpt"))  # a bigram has no matrices


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """All settings of a training run.

    An instance is resolved (see `engines.settings.resolve`): only device, dtype and compile may still be `auto`, which
    the worker decides on its machine.
    """

    # fmt: off
    mode: str = setting("model", "str", AUTO, "engine: scalar is pure Python, tensor is torch (auto: tensor for gpt, else scalar)", choices=("scalar", "tensor"))
    model_kind: str = setting("model", "str", "bigram", "model architecture", choices=("bigram", "mini-gpt", "gpt"))
    depth: int = setting("model", "int", AUTO, "number of layers of a gpt, from which width, heads, batch size, steps and learning rates follow (auto: 4)", at_least=1, at_most=64, applies_when=_GPT)
    tie_lm_head: bool = setting("model", "bool", AUTO, "weight tying: the embedding is also the head (auto: false)")
    input_rmsnorm: bool = setting("model", "bool", AUTO, "RMSNorm of the embeddings before the first layer (auto: true, but false for bigram)")
    final_rmsnorm: bool = setting("model", "bool", AUTO, "RMSNorm before the head (auto: true)", applies_when=_ATTENTION)
    layers: int = setting("model", "int", AUTO, "number of transformer layers (auto: 1 for mini-gpt; --depth for gpt)", at_least=1, at_most=1024, applies_when=_ATTENTION)
    width: int = setting("model", "int", AUTO, "model width (embedding dimension), a multiple of --heads (auto: 16 for mini-gpt; from --depth for gpt)", at_least=1, at_most=65536, applies_when=_ATTENTION)
    heads: int = setting("model", "int", AUTO, "number of attention heads (auto: 4 for mini-gpt; from --width for gpt)", at_least=1, at_most=65536, applies_when=_ATTENTION)
    context_length: int = setting("model", "int", AUTO, "context length in tokens: the length of a training row, and the longest attention span (auto: 8 for bigram, 16 for mini-gpt, 2048 for gpt)", at_least=1, at_most=1 << 20)

    scaling_rules: str = setting("gpt", "str", AUTO, "rules by which sizes, steps, learning rates and weight decay follow from --depth; tuned: smaller batches and windows, and higher rates for narrow models, than nanochat's (auto: tuned)", choices=("tuned", "nanochat"), applies_when=_GPT)
    kv_heads: int = setting("gpt", "int", AUTO, "number of key and value heads (grouped-query attention), a divisor of --heads (auto: --heads)", at_least=1, at_most=65536, applies_when=_GPT)
    rotary: bool = setting("gpt", "bool", AUTO, "rotary position embeddings; false: no position information (auto: true)", applies_when=_GPT)
    rotary_base: float = setting("gpt", "float", AUTO, "base of the rotary embeddings' wavelengths (auto: 100,000)", above=1, at_most=LARGEST_FACTOR, applies_when=_GPT + needs(rotary=True) + _ROTARY_HEADS)
    qk_norm: bool = setting("gpt", "bool", AUTO, "QK norm: RMSNorm of queries and keys (auto: true)", applies_when=_GPT)
    qk_scale: float = setting("gpt", "float", AUTO, "factor on normalised queries and keys (auto: 1.2)", above=0, at_most=LARGEST_FACTOR, applies_when=_GPT + needs(qk_norm=True))
    activation: str = setting("gpt", "str", AUTO, "MLP activation function; relu2 is the square of a ReLU (auto: relu2)", choices=("relu2", "relu", "gelu"), applies_when=_GPT)
    softcap: float = setting("gpt", "float", AUTO, "tanh soft-capping: bound on the absolute value of the logits, 0 for none (auto: 15)", at_least=0, at_most=LARGEST_FACTOR, applies_when=_GPT)
    window_pattern: str = setting("gpt", "str", AUTO, "attention of each layer, repeated: L for the full context, S for a sliding window; the last layer is always L (auto: SSSL)", applies_when=_GPT + _SEVERAL_LAYERS + _SHORT_WINDOW)
    window: int = setting("gpt", "int", AUTO, "size of the sliding window in tokens (auto: an eighth of the context; a quarter with --scaling-rules nanochat)", at_least=1, at_most=1 << 20, applies_when=_GPT + _WINDOWED_LAYER + _SHORT_WINDOW)
    document_mask: bool = setting("gpt", "bool", AUTO, "attention within a document only (auto: false)", applies_when=_GPT)
    value_embeddings: bool = setting("gpt", "bool", AUTO, "value embeddings: a token embedding added to the attention values of every other layer (auto: true)", applies_when=_GPT)
    residual_scalars: bool = setting("gpt", "bool", AUTO, "learned factor on the residual stream before each layer (auto: true)", applies_when=_GPT)
    embedding_scalars: bool = setting("gpt", "bool", AUTO, "learned factor on the embedding that is added to the residual stream before each layer (auto: true)", applies_when=_GPT)
    smear: bool = setting("gpt", "bool", AUTO, "previous token's embedding added to each embedding through a learned gate (auto: true)", applies_when=_GPT)
    backout: bool = setting("gpt", "bool", AUTO, "middle layer's output subtracted before the head, scaled by a learned factor (auto: true)", applies_when=_GPT)

    data: str = setting("data", "str", AUTO, f"text: file, folder, glob, or one of {', '.join(BUILT_IN_CORPORA)} (auto: names; stories for gpt)")
    val_data: str | None = setting("data", "str", None, "validation text: file, folder, glob or built-in corpus (default: a tenth of --data)", optional=True)
    documents: str = setting("data", "str", "file", "document unit in .txt files: the whole file, or each line", choices=("file", "line"), applies_when=_PLAIN_TEXT)
    text_key: str = setting("data", "str", "text", "key of the text in JSON records, or column of the text in .parquet files", applies_when=_RECORD_FILES)
    style: str = setting("data", "str", "classic", "classic: the text as it is; futuristic: with a few futuristic lines appended", choices=("classic", "futuristic"))
    corpus_size: int = setting("data", "size", AUTO, "size of the corpus `stories` in bytes (auto: 1M; 10M for gpt)", at_least=1_000, at_most=10**12, applies_when=_STORIES)
    corpus_seed: int = setting("data", "int", 0, "random seed of the corpus `stories`", at_least=0, at_most=LARGEST_SEED, applies_when=_STORIES)
    tokenizer: str = setting("data", "str", AUTO, "tokenizer: characters, bytes, or byte pair encoding (auto: char; bpe for gpt)", choices=("char", "byte", "bpe"))
    vocab_size: int = setting("data", "int", AUTO, "vocabulary size of a bpe tokenizer (auto: 1024; for gpt 8192, above depth 8 or with --scaling-rules nanochat 32768)", at_least=258, at_most=1 << 20, applies_when=needs(unmet_is_error=True, tokenizer="bpe"))
    seed: int = setting("data", "int", 1337, "random seed of initial weights, data split, data order and samples", at_least=0, at_most=LARGEST_SEED)

    steps: int = setting("budget", "int", AUTO, f"training steps (auto: 500; from --tokens; from --depth; {UNBOUNDED_STEPS:,} if only a time budget or target is set)", at_least=0, at_most=_MAX_STEPS)
    tokens: int | None = setting("budget", "size", None, "token budget, with which the learning rate schedule ends", at_least=1, at_most=_MAX_TOKENS, optional=True)
    time_budget: float | None = setting("budget", "duration", None, "time budget of training, with which the learning rate schedule ends", above=0, at_most=_MAX_SECONDS, optional=True)
    target_bpb: float | None = setting("budget", "float", None, "validation bits per byte at which training stops", above=0, at_most=LARGEST_FACTOR, optional=True)

    optimizer: str = setting("optimization", "str", AUTO, "optimizer; muon is for the weight matrices, with adamw for the rest (auto: adamw; muon for gpt)", choices=("sgd", "adamw", "muon"), aliases=(("adam-w", "adamw"),))
    batch_size: int = setting("optimization", "int", AUTO, "batch size in rows of --context-length tokens (auto: 64 for bigram, 8 for mini-gpt, from --depth for gpt)", at_least=1, at_most=_MAX_ROWS)
    lr: float = setting("optimization", "float", AUTO, "peak learning rate; with muon, of the weight matrices (auto: by model and optimizer)", above=0, at_most=LARGEST_FACTOR)
    embedding_lr: float = setting("optimization", "float", AUTO, "peak learning rate of a gpt's embedding; value embeddings use half of it (auto: from --depth)", above=0, at_most=LARGEST_FACTOR, applies_when=_GPT_ADAMW)
    head_lr: float = setting("optimization", "float", AUTO, "peak learning rate of a gpt's head (auto: from --depth)", above=0, at_most=LARGEST_FACTOR, applies_when=_GPT_ADAMW + needs(tie_lm_head=False))
    scalar_lr: float = setting("optimization", "float", AUTO, "peak learning rate of a gpt's learned scalars (auto: from --depth)", above=0, at_most=LARGEST_FACTOR, applies_when=_GPT_ADAMW + _SCALARS)
    lr_schedule: str = setting("optimization", "str", "linear", "shape of the learning rate decay", choices=("linear", "sqrt", "cosine", "constant"), applies_when=needs(warmdown_fraction=NONZERO))
    warmup_fraction: float = setting("optimization", "float", AUTO, "fraction of the run over which the learning rate rises (auto: 0; 40 steps for gpt)", at_least=0, at_most=1)
    warmdown_fraction: float = setting("optimization", "float", AUTO, "fraction of the run over which the learning rate decays (auto: 0.5; 0.65 for gpt)", at_least=0, at_most=1, applies_when=_WARMDOWN)
    final_lr_fraction: float = setting("optimization", "float", AUTO, "final learning rate, as a fraction of the peak (auto: 0; 0.05 for gpt)", at_least=0, at_most=1, applies_when=_DECAY + needs(warmdown_fraction=NONZERO))
    beta1: float = setting("optimization", "float", 0.9, "AdamW's β₁: decay rate of the mean gradient", at_least=0, at_most=0.999999, applies_when=_BETAS)
    beta2: float = setting("optimization", "float", 0.99, "AdamW's β₂: decay rate of the mean squared gradient", at_least=0, at_most=0.999999, applies_when=_BETAS)
    adam_eps: float = setting("optimization", "float", 1e-8, "AdamW's epsilon", above=0, at_most=LARGEST_FACTOR, applies_when=_BETAS)
    weight_decay: float = setting("optimization", "float", AUTO, "decoupled weight decay, multiplied by the learning rate (auto: 0; with muon from --depth)", at_least=0, at_most=LARGEST_FACTOR, applies_when=_WEIGHT_DECAY)
    polar_express: bool = setting("muon", "bool", AUTO, "Polar Express coefficients for Muon's five iterations; false: one quintic five times (auto: true)", applies_when=_MUON)
    row_equilibration: bool = setting("muon", "bool", AUTO, "normalisation of a gradient's rows before Muon's iterations (auto: true)", applies_when=_MUON)
    renormalization: bool = setting("muon", "bool", AUTO, "scaling of Muon's update to the norm of an orthogonal matrix (auto: true)", applies_when=_MUON)
    variance_reduction: bool = setting("muon", "bool", AUTO, "normalisation of Muon's update per neuron by its running second moment (auto: true)", applies_when=_MUON)
    cautious_decay: bool = setting("muon", "bool", AUTO, "cautious weight decay: only where the update shrinks a weight, and falling over the run (auto: true)", applies_when=_MUON + needs(weight_decay=NONZERO))
    momentum_schedule: bool = setting("muon", "bool", AUTO, "schedule of Muon's momentum, which rises at first and falls with the learning rate; false: 0.95 (auto: true)", applies_when=_MUON)

    device: str = setting("machine", "str", AUTO, "device (auto: a GPU if there is one)", choices=("cpu", "cuda", "mps"), applies_when=_TENSOR)
    dtype: str = setting("machine", "str", AUTO, "data type of the computation; weights are kept in float32 at least (auto: bfloat16 where it is fastest, else float32)", choices=("float32", "bfloat16", "float64"), applies_when=_TENSOR)
    compile: str = setting("machine", "str", AUTO, "torch.compile; regions: per layer of a gpt, which starts sooner and runs slightly slower (auto: gpt on CUDA only; regions if it trains for minutes)", choices=("on", "regions", "off"), applies_when=_TENSOR)
    threads: int = setting("machine", "int", 0, "CPU threads of torch, 0 for the fastest number as measured", at_least=0, at_most=4096, applies_when=_TENSOR)
    micro_batch: int = setting("machine", "int", 0, "rows per micro-batch (gradient accumulation), a divisor of --batch-size; 0 for as many as fit in memory and keep the device busy", at_least=0, at_most=_MAX_ROWS, applies_when=_TENSOR)

    eval_every: int = setting("evaluation", "int", AUTO, "steps between evaluations, 0 for the first and last step only (auto: a tenth of the run, at most 250 without --time-budget)", at_least=0, at_most=_MAX_STEPS)
    eval_tokens: int = setting("evaluation", "int", AUTO, "validation tokens per evaluation, 0 for all (auto: 200,000 for bigram, 4,096 for a scalar mini-gpt, all for gpt)", at_least=0, at_most=_MAX_TOKENS)
    sample_every: int = setting("evaluation", "int", AUTO, "steps between samples, 0 for the last step only (auto: --eval-every)", at_least=0, at_most=_MAX_STEPS, applies_when=needs(sample_tokens=NONZERO))
    sample_tokens: int = setting("evaluation", "int", 80, "length of each sample in tokens, 0 for no samples", at_least=0, at_most=10**6)
    temperature: float = setting("evaluation", "float", 0.8, "sampling temperature of these samples, 0 for greedy", at_least=0, at_most=LARGEST_FACTOR, applies_when=needs(sample_tokens=NONZERO))
    prompt: str = setting("evaluation", "str", "", "prompt of these samples", applies_when=needs(sample_tokens=NONZERO))

    checkpoint_every: int = setting("checkpoints", "int", AUTO, "steps between checkpoints, 0 for only the last and, with --keep-best, the best (auto: --eval-every)", at_least=0, at_most=_MAX_STEPS)
    checkpoint_dir: str | None = setting("checkpoints", "str", None, "directory for checkpoints, which are saved in DIR/<run id> (default: in the run directory)", optional=True)
    keep_last: int = setting("checkpoints", "int", 3, "number of newest checkpoints to keep, 0 for all", at_least=0, at_most=_MAX_STEPS)
    keep_best: bool = setting("checkpoints", "bool", True, "save and keep the checkpoint with the best validation bits per byte")

    guard_nonfinite: str = setting("guards", "str", "halt", "action when the loss or a gradient is not finite", choices=_GUARD_WITH_ROLLBACK)
    guard_spike: str = setting("guards", "str", "warn", "action when the loss jumps", choices=_GUARD_WITH_ROLLBACK)
    guard_spike_sigmas: float = setting("guards", "float", 8.0, "size of a loss jump, in standard deviations of recent losses", above=0, at_most=LARGEST_FACTOR, applies_when=needs(guard_spike=_GUARD_ON))
    guard_disk: str = setting("guards", "str", "halt", "action when the free disk space is less than two checkpoints", choices=_GUARD)
    guard_memory: str = setting("guards", "str", "warn", "action when the process's memory keeps growing", choices=_GUARD)
    guard_memory_growth: float = setting("guards", "float", 1.5, "memory of the process that triggers the guard, as a multiple of its minimum since start-up", above=1, at_most=LARGEST_FACTOR, applies_when=needs(guard_memory=_GUARD_ON))
    guard_throughput: str = setting("guards", "str", "warn", "action when training slows down", choices=_GUARD)
    guard_throughput_drop: float = setting("guards", "float", 0.5, "throughput below which the guard triggers, as a fraction of the usual tokens per second", above=0, at_most=1, applies_when=needs(guard_throughput=_GUARD_ON))
    # fmt: on

    @property
    def tokens_per_step(self) -> int:
        """The number of tokens in a batch."""
        return self.batch_size * self.context_length


_RECORD_FILE = re.compile(
    r"\.(jsonl|ndjson|json|parquet)(\.(gz|xz|zst))?$", re.IGNORECASE
)  # formats of records, not of plain text


def _has_window(values: Mapping[str, Any]) -> bool:
    pattern, layers = values["window_pattern"], values["layers"]
    return "S" in (pattern * (layers // len(pattern) + 1))[: layers - 1] if pattern else False


def _has_plain_text(values: Mapping[str, Any]) -> bool:
    """Return whether one of the texts is neither JSON nor Parquet, by its name."""
    return any(not _RECORD_FILE.search(path) for path in _paths(values))


def _has_record_files(values: Mapping[str, Any]) -> bool:
    """Return whether one of the texts is JSON or Parquet, or a folder or pattern that may contain such files."""
    return any(
        _RECORD_FILE.search(path) or "*" in path or "." not in path.rpartition("/")[2] for path in _paths(values)
    )


def _paths(values: Mapping[str, Any]) -> list[str]:
    return [text for text in (values["data"], values["val_data"]) if text and text not in BUILT_IN_CORPORA]
