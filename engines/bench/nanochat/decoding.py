"""The measurement of generation on both sides: sizes, commands, and the bytes that a step must read."""

from pathlib import Path
from typing import Any

BATCHES = (1, 8, 32, 128)
PROMPT_TOKENS = 1792
NEW_TOKENS = 256
_BYTES_PER_NUMBER = 2  # of bfloat16, which both sides use on a GPU

# With cuDNN, upstream's attention builds a plan for every length: both ways are measured, and the faster one counts.
UPSTREAM_VARIANTS: dict[str, dict[str, str]] = {
    "decode": {},
    "decode without cuDNN": {"TORCH_CUDNN_SDPA_ENABLED": "0"},
}


def build_our_command(python: str, results: Path, device: str) -> list[str]:
    """Return the command that measures generation of our checkpoint."""
    return [python, "-m", "engines.bench.nanochat.our_decoding", str(results), device]


def build_upstream_command(python: str, tag: str) -> list[str]:
    """Return the command of upstream's own benchmark, which prints JSON in its last line; ours does the same."""
    batches = ",".join(map(str, BATCHES))
    return [
        python, "-m", "scripts.infer_bench", "-i", "base", "-g", tag, f"--prompt-tokens={PROMPT_TOKENS}",
        f"--decode-tokens={NEW_TOKENS}", f"--batch-sizes={batches}",
    ]  # fmt: skip


def compute_bytes_per_step(sizes: dict[str, Any], batch: int) -> int:
    """Return the bytes that a step of `batch` texts must read halfway through: all matrices, keys and values."""
    config = sizes["model_config"]
    width, layers = config["n_embd"], config["n_layer"]
    matrices = 12 * layers * width * width + config["vocab_size"] * width
    context = sizes["prompt_tokens"] + sizes["decode_tokens"] // 2
    cached = 2 * layers * config["n_kv_head"] * (width // config["n_head"]) * context
    return int(_BYTES_PER_NUMBER * (matrices + batch * cached))
