"""Time per token of nanoGPT's generation, as JSON: `python nanogpt_decoding.py OUT TOKENS` in a folder with nanoGPT."""

import json
import os
import sys
import time
from importlib import import_module
from typing import Any

import torch


def time_generation(model: Any, count: int) -> dict[str, float]:
    """Generate tokens with the settings of sample.py; return the tokens per second after the first token.

    The model is called once per token, and a token is complete when the next one begins.
    """
    times: list[float] = []
    model.register_forward_pre_hook(lambda module, inputs: times.append(time.perf_counter()))
    with torch.no_grad():
        model.generate(torch.zeros(1, 1, dtype=torch.long), count, temperature=0.8, top_k=200)
    times.append(time.perf_counter())
    return {"first_token": times[1] - times[0], "tokens_per_second": (len(times) - 2) / (times[-1] - times[1])}


def main(folder: str, count: str) -> None:
    """Load the checkpoint of a training, generate, and print the result."""
    nanogpt = import_module("model")
    checkpoint = torch.load(os.path.join(folder, "ckpt.pt"), map_location="cpu")
    model = nanogpt.GPT(nanogpt.GPTConfig(**checkpoint["model_args"]))
    model.load_state_dict(checkpoint["model"])
    print(json.dumps(time_generation(model.eval(), int(count))))


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    main(*sys.argv[1:])
