"""Time per token of nanochat's engine with random weights, as JSON. Its modules must be on the path.

`python nanochat_decoding.py PROMPT TOKENS DEPTH VOCABULARY CONTEXT`, in tokens.
"""

import json
import sys
import time
from importlib import import_module
from typing import Any

import torch

_HEAD_WIDTH, _WIDTH_PER_LAYER = 128, 64  # as in nanochat's base_train


class NoSpecialTokens:
    """A tokenizer for the engine, of which no token ends the text or starts a tool."""

    def encode_special(self, name: str) -> int:
        """Return no token."""
        return -1

    def get_bos_token_id(self) -> int:
        """Return no token."""
        return -1


def build_model(depth: int, vocab_size: int, context: int) -> Any:
    """Return nanochat's model of this depth with its initial weights, and full attention, which it recommends here."""
    gpt = import_module("nanochat.gpt")
    width = -(-depth * _WIDTH_PER_LAYER // _HEAD_WIDTH) * _HEAD_WIDTH
    heads = width // _HEAD_WIDTH
    sizes = {"n_layer": depth, "n_head": heads, "n_kv_head": heads, "n_embd": width, "window_pattern": "L"}
    with torch.device("meta"):
        model = gpt.GPT(gpt.GPTConfig(sequence_len=context, vocab_size=vocab_size, **sizes))
    model.to_empty(device="cpu")
    model.init_weights()
    return model.eval()


def main(prompt: int, count: int, depth: int, vocab_size: int, context: int) -> None:
    """Generate greedily, and print the result."""
    engine = import_module("nanochat.engine").Engine(build_model(depth, vocab_size, context), NoSpecialTokens())
    tokens = torch.randint(vocab_size, (prompt,), generator=torch.Generator().manual_seed(0)).tolist()
    started = time.perf_counter()
    times = [time.perf_counter() for _ in engine.generate(tokens, max_tokens=count, temperature=0.0)]
    rate = (len(times) - 1) / (times[-1] - times[0])
    print(json.dumps({"first_token": times[0] - started, "tokens_per_second": rate}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
