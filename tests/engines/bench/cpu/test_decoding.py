"""Tokens of each side are timed from the first one on."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from engines.bench.cpu.nanogpt_decoding import time_generation
from engines.bench.cpu.our_decoding import decode_greedily, sample, time_tokens
from engines.checkpoints.folders import get_checkpoint_path
from engines.errors import UserError
from engines.generation.load import load_trained_model
from engines.generation.sampling import generate
from engines.settings.sample import SampleSettings
from tests.builders import finished_run

PAUSE = 0.01  # seconds


class SlowStart(nn.Module):
    """A model whose first call takes longer, as the one that reads the prompt does."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        time.sleep(5 * PAUSE if self.calls == 0 else PAUSE)
        self.calls += 1
        return tokens

    def generate(self, tokens: torch.Tensor, count: int, temperature: float, top_k: int) -> None:
        for _ in range(count):
            self(tokens)


def generate_tokens() -> Iterator[int]:
    for token in range(6):
        time.sleep(PAUSE if token else 5 * PAUSE)
        yield token


def test_the_first_token_is_not_part_of_the_rate() -> None:
    model = SlowStart()
    for timed in (time_tokens(generate_tokens()), time_generation(model, 6)):
        assert timed["first_token"] >= 5 * PAUSE
        assert 0 < timed["tokens_per_second"] <= 1 / PAUSE
    assert model.calls == 6


def test_a_single_token_has_no_rate() -> None:
    timed = time_tokens([0])
    assert timed["tokens"] == 1 and timed["tokens_per_second"] == pytest.approx(0.0)


def test_a_sample_that_ends_early_is_not_timed(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=1)
    loaded = load_trained_model(get_checkpoint_path(run.checkpoints_dir, 1))
    timed = sample(loaded, 12)
    tokens = list(generate(loaded.model, loaded.tokenizer, SampleSettings(max_new_tokens=12, seed=int(timed["seed"]))))
    assert timed["tokens"] == len(tokens) == 12
    with pytest.raises(UserError, match="none of 20 samples has 5000 tokens"):
        sample(loaded, 5000)


def test_a_greedy_continuation_has_as_many_tokens_as_requested(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=1)
    loaded = load_trained_model(get_checkpoint_path(run.checkpoints_dir, 1))
    assert decode_greedily(loaded, 30, prompt=5)["tokens"] == 30
