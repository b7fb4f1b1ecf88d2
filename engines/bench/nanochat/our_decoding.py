"""How fast a model of ours generates: `python -m engines.bench.nanochat.our_decoding RESULTS DEVICE`.

The last line is JSON, with the names that upstream's scripts.infer_bench has for the same.
"""

import itertools
import json
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from engines.bench.nanochat.decoding import BATCHES, NEW_TOKENS, PROMPT_TOKENS
from engines.bench.nanochat.our_training import last_checkpoint, the_run
from engines.data.tokenizers import BOS
from engines.generation.load import load_trained_model
from engines.interfaces import LanguageModel
from engines.settings.sample import SampleSettings

_GREEDY = SampleSettings(top_k=1)
_REHEARSAL = 8  # tokens
_TEXT = (
    "The history of science is the study of how knowledge of nature came to be, by observation and by reasoning, "
    "and of the people and the instruments that made it. "
)


def measure(model: LanguageModel, prompt: list[int], batch: int, new_tokens: int) -> dict[str, Any]:
    """One generation: the time to the first token of all rows, prompts read, and to each later one on the host."""
    started = time.perf_counter()
    decoder = model.decoder([prompt] * batch)
    moments = [time.perf_counter() for _ in decoder.stream(_GREEDY, itertools.repeat([0.0] * batch, new_tokens))]
    seconds = [after - before for before, after in itertools.pairwise(moments)]
    return {
        "batch_size": batch,
        "ttft_sec": moments[0] - started,
        "tpot_sec": fmean(seconds),  # they come in bursts
        "tok_per_sec": batch * len(seconds) / sum(seconds),
    }


def main(results: str, device: str) -> None:
    compile = "on" if device == "cuda" else "off"
    speaker = load_trained_model(last_checkpoint(Path(results)), device, compile)
    model = speaker.model
    new_tokens = min(NEW_TOKENS, model.context_length // 4)
    length = min(PROMPT_TOKENS, model.context_length - new_tokens)
    prompt = [BOS, *speaker.tokenizer.encode(_TEXT * length)][:length]
    sweep = []
    for batch in BATCHES:
        print(f"generating {batch} texts at once")
        measure(model, prompt, batch, _REHEARSAL)
        sweep.append(measure(model, prompt, batch, new_tokens))
    settings = the_run(Path(results)).config["resolved"]
    config = {
        "n_layer": settings["layers"],
        "n_embd": settings["width"],
        "n_head": settings["heads"],
        "n_kv_head": settings["kv_heads"],
        "vocab_size": speaker.tokenizer.vocab_size,
    }
    print(json.dumps({"model_config": config, "prompt_tokens": length, "decode_tokens": new_tokens, "sweep": sweep}))


if __name__ == "__main__":
    main(*sys.argv[1:])
