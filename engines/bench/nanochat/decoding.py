"""How generation is measured on both sides: sizes, commands, and what a step cannot do without."""

from pathlib import Path
from typing import Any

BATCHES = (1, 8, 32, 128)
PROMPT_TOKENS = 1792
NEW_TOKENS = 256
_NUMBER_BYTES = 2  # of bfloat16, in which both multiply on a GPU

# Upstream's attention plans anew for every length under cuDNN: it is measured with and without, and the better counts.
UPSTREAM_VARIANTS: dict[str, dict[str, str]] = {
    "decode": {},
    "decode without cuDNN": {"TORCH_CUDNN_SDPA_ENABLED": "0"},
}


def our_command(python: str, results: Path, device: str) -> list[str]:
    return [python, "-m", "engines.bench.nanochat.our_decoding", str(results), device]


def upstream_command(python: str, tag: str) -> list[str]:
    """Its own benchmark, which has a last line of JSON, and which ours imitates."""
    batches = ",".join(map(str, BATCHES))
    return [
        python, "-m", "scripts.infer_bench", "-i", "base", "-g", tag, f"--prompt-tokens={PROMPT_TOKENS}",
        f"--decode-tokens={NEW_TOKENS}", f"--batch-sizes={batches}",
    ]  # fmt: skip


def bytes_of_step(told: dict[str, Any], batch: int) -> int:
    """What a step of `batch` texts must read at the least, half way through: the matrices, and all keys and values."""
    config = told["model_config"]
    width, layers = config["n_embd"], config["n_layer"]
    matrices = 12 * layers * width * width + config["vocab_size"] * width
    context = told["prompt_tokens"] + told["decode_tokens"] // 2
    kept = 2 * layers * config["n_kv_head"] * (width // config["n_head"]) * context
    return int(_NUMBER_BYTES * (matrices + batch * kept))
