"""Time per token of our generation: `python -m engines.bench.cpu.our_decoding HOW CHECKPOINT TOKENS [PROMPT]`.

HOW is "sample", from an empty prompt at the defaults, or "greedy", after a prompt of that many tokens. The last line is
JSON with the seconds to the first token and the tokens per second after it; for a sample also its seed.
"""

import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from engines.errors import UserError
from engines.generation.load import LoadedModel, load_trained_model
from engines.generation.sampling import generate
from engines.interfaces import LanguageModel
from engines.random_stream import RandomStream
from engines.settings.sample import SampleSettings

_SEEDS = 20


def time_tokens(tokens: Iterable[object]) -> dict[str, float]:
    """Return the number of tokens, the seconds to the first one, and the tokens per second after it."""
    started = time.perf_counter()
    times = [time.perf_counter() for _ in tokens]
    return {
        "tokens": len(times),
        "first_token": times[0] - started,
        "tokens_per_second": (len(times) - 1) / max(times[-1] - times[0], 1e-9),
    }


def sample(loaded: LoadedModel, count: int) -> dict[str, float]:
    """Sample as the command does, with the first seed whose text does not end before it has `count` tokens."""
    for seed in range(1, _SEEDS + 1):
        settings = SampleSettings(max_new_tokens=count, seed=seed)
        timed = time_tokens(generate(loaded.model, loaded.tokenizer, settings))
        if timed["tokens"] == count:
            return {**timed, "seed": seed}
    raise UserError(f"none of {_SEEDS} samples has {count} tokens: the model ends its texts earlier. Train for longer.")


def decode_greedily(loaded: LoadedModel, count: int, prompt: int) -> dict[str, float]:
    """Continue a random prompt with the most likely tokens, also after the end of a document."""
    random = RandomStream(0)
    tokens = [int(random.uniform(0, loaded.tokenizer.vocab_size)) for _ in range(prompt)]
    return time_tokens(_continue(loaded.model, tokens, count))


def _continue(model: LanguageModel, prompt: list[int], count: int) -> Iterator[object]:
    """Read the prompt when the first token is requested: it belongs to the time of that token."""
    yield from model.decoder([prompt]).stream(SampleSettings(top_k=1), itertools.repeat([0.0], count))


def main(how: str, checkpoint: str, count: str, prompt: str = "0") -> None:
    """Load the model, time its tokens, and print the result."""
    loaded = load_trained_model(Path(checkpoint), "cpu")
    timed = sample(loaded, int(count)) if how == "sample" else decode_greedily(loaded, int(count), int(prompt))
    print(json.dumps(timed))


if __name__ == "__main__":
    main(*sys.argv[1:])
