"""Speed of generation with our checkpoint: `python -m engines.bench.nanochat.our_decoding RESULTS DEVICE`.

The last line is JSON with the keys of upstream's scripts.infer_bench.
"""

import itertools
import json
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from engines.bench.nanochat.decoding import BATCHES, NEW_TOKENS, PROMPT_TOKENS
from engines.bench.nanochat.our_training import find_last_checkpoint, find_only_run
from engines.data.tokenizers import BOS
from engines.generation.load import load_trained_model
from engines.interfaces import LanguageModel
from engines.settings.sample import SampleSettings

_GREEDY = SampleSettings(top_k=1)
_WARM_UP = 8  # tokens
_TEXT = (
    "The history of science is the study of how knowledge of nature came to be, by observation and by reasoning, "
    "and of the people and the instruments that made it. "
)


def measure(model: LanguageModel, prompt: list[int], batch: int, new_tokens: int) -> dict[str, Any]:
    """Generate once; return the time to the first token, prefill included, and the mean time per later token."""
    started = time.perf_counter()
    decoder = model.decoder([prompt] * batch)
    times = [time.perf_counter() for _ in decoder.stream(_GREEDY, itertools.repeat([0.0] * batch, new_tokens))]
    seconds = [after - before for before, after in itertools.pairwise(times)]
    return {
        "batch_size": batch,
        "ttft_sec": times[0] - started,
        "tpot_sec": fmean(seconds),  # a mean, since tokens arrive in bursts
        "tok_per_sec": batch * len(seconds) / sum(seconds),
    }


def main(results: str, device: str) -> None:
    """Measure all batch sizes and print the results."""
    compile = "on" if device == "cuda" else "off"
    loaded = load_trained_model(find_last_checkpoint(Path(results)), device, compile)
    model = loaded.model
    new_tokens = min(NEW_TOKENS, model.context_length // 4)
    length = min(PROMPT_TOKENS, model.context_length - new_tokens)
    prompt = [BOS, *loaded.tokenizer.encode(_TEXT * length)][:length]
    sweep = []
    for batch in BATCHES:
        print(f"generating {batch} texts at once")
        measure(model, prompt, batch, _WARM_UP)
        sweep.append(measure(model, prompt, batch, new_tokens))
    settings = find_only_run(Path(results)).config["resolved"]
    config = {
        "n_layer": settings["layers"],
        "n_embd": settings["width"],
        "n_head": settings["heads"],
        "n_kv_head": settings["kv_heads"],
        "vocab_size": loaded.tokenizer.vocab_size,
    }
    print(json.dumps({"model_config": config, "prompt_tokens": length, "decode_tokens": new_tokens, "sweep": sweep}))


if __name__ == "__main__":
    main(*sys.argv[1:])
