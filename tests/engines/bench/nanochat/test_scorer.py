"""The scorer agrees with a brute-force computation, on both sides."""

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tensors import build_random_gpt, gpt_settings
from torch import Tensor

from engines.bench.nanochat.our_model import OurModel
from engines.bench.nanochat.scorer import TextScore, score_texts
from engines.bench.nanochat.upstream_model import UpstreamModel
from engines.data.tokenizers import ByteTokenizer
from engines.tensor.models.gpt import GPT
from engines.training.evaluation import Targets, evaluate

TEXTS = ["the first of them", "a second, longer one: grüße", "x"]
BOS, V = 0, ByteTokenizer().vocab_size


def tiny_gpt() -> GPT:
    return build_random_gpt(gpt_settings(), V)


def brute_force(model: GPT, texts: list[str]) -> float:
    """Compute bits per byte token by token, each after the preceding tokens of its row."""
    stream = [token for text in texts for token in (BOS, *(byte + 1 for byte in text.encode()))]
    nats = 0.0
    for index in range(1, len(stream)):
        row = (index - 1) // model.context_length * model.context_length
        if stream[index] != BOS:
            logits = torch.tensor(model.logits(stream[row:index]), dtype=torch.float64)
            nats -= logits.log_softmax(0)[stream[index]].item()
    return nats / math.log(2) / len("".join(texts).encode())


class UpstreamTokenizer:
    """Upstream's interface with the tokens of our byte tokenizer."""

    class enc:
        n_vocab = V

        @staticmethod
        def encode_ordinary(text: str) -> list[int]:
            return [byte + 1 for byte in text.encode()]

        @staticmethod
        def decode_single_token_bytes(token: int) -> bytes:
            return bytes([token - 1])

    def get_bos_token_id(self) -> int:
        return BOS

    def get_special_tokens(self) -> set[str]:
        return {"<|bos|>"}

    def encode_special(self, name: str) -> int:
        return BOS


class UpstreamGPT:
    """Upstream's interface: takes inputs and targets, of which -1 is ignored, and returns the losses in one row."""

    def __init__(self, model: GPT) -> None:
        self._model = model
        self.config = type("Config", (), {"sequence_len": model.context_length})

    def __call__(self, inputs: Tensor, targets: Tensor, loss_reduction: str) -> Tensor:
        logits = self._model.forward(inputs)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction=loss_reduction)


def score(model: Any, texts: list[str] = TEXTS) -> TextScore:
    return score_texts(model, texts, lambda done, total: None)


def test_the_score_of_our_side_agrees_with_brute_force() -> None:
    model = tiny_gpt()
    found = score(OurModel(model, ByteTokenizer()))
    assert found.bpb == pytest.approx(brute_force(model, TEXTS), rel=1e-12)
    assert found.tokens == found.scored_bytes == found.text_bytes == len("".join(TEXTS).encode())


def test_our_evaluation_agrees_with_the_scorer() -> None:
    """The time to a target depends on both."""
    model, tokenizer = tiny_gpt(), ByteTokenizer()
    stream = array(tokenizer.typecode, [token for text in TEXTS for token in (BOS, *tokenizer.encode(text))])
    own = evaluate(model, Targets.of(memoryview(stream), tokenizer.token_bytes), model.context_length, lambda: None)
    found = score(OurModel(model, tokenizer))
    assert (own.bpb, own.bytes) == (pytest.approx(found.bpb, rel=1e-12), found.scored_bytes)


def test_both_sides_have_the_same_score_for_the_same_probabilities() -> None:
    model = tiny_gpt()
    theirs = UpstreamModel(UpstreamGPT(model), UpstreamTokenizer(), torch.device("cpu"), mixed=False)
    ours, upstream = score(OurModel(model, ByteTokenizer())), score(theirs)
    assert upstream == ours._replace(bpb=pytest.approx(ours.bpb, rel=1e-12), nats=pytest.approx(ours.nats, rel=1e-12))


class IdLossModel:
    """The loss of a target is its token id. Of the two bytes that it encodes, it counts only one."""

    bos, context_length, token_bytes = 0, 3, (0, 1, 0)

    def __init__(self) -> None:
        self.rows: list[list[int]] = []

    def encode(self, text: str) -> list[int]:
        return [1 if character == "a" else 2 for character in text]

    def per_token_loss(self, rows: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        self.rows += map(list, rows)
        return ([float(token) for token in row[1:]] for row in rows)


def test_rows_of_the_token_stream_overlap_by_one_token() -> None:
    model = IdLossModel()
    found = score(model, ["aa", "aaa"])
    assert model.rows == [[0, 1, 1, 0], [0, 1, 1, 1]]
    assert found == TextScore(pytest.approx(5 / math.log(2) / 5), 5.0, 5, 5, 5)  # type: ignore[arg-type]


def test_bytes_that_are_not_scored_are_counted() -> None:
    found = score(IdLossModel(), ["ab"])
    assert (found.scored_bytes, found.text_bytes) == (1, 2)
