"""Tokens of each side are timed from the first one on."""

import time
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from engines.bench.cpu.nanogpt_decoding import time_generation
from engines.bench.cpu.our_decoding import time_tokens

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
    assert time_tokens([0])["tokens_per_second"] == pytest.approx(0.0)
