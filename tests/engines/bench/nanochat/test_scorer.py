"""The scorer against sums by hand, and both sides' ways to it against each other."""

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tensors import awake_gpt, exact_gpt
from torch import Tensor

from engines.bench.nanochat.our_model import OurModel
from engines.bench.nanochat.scorer import Score, score
from engines.bench.nanochat.upstream_model import UpstreamModel
from engines.data.tokenizers import ByteTokenizer
from engines.tensor.models.gpt import GPT
from engines.training.evaluation import Targets, evaluate

TEXTS = ["the first of them", "a second, longer one: grüße", "x"]
BOS, V = 0, ByteTokenizer().vocab_size


def tiny_gpt() -> GPT:
    return awake_gpt(exact_gpt(), V)


def brute_force(model: GPT, texts: list[str]) -> float:
    """Bits per byte, a token at a time: what each one costs after those of its row that precede it."""
    stream = [token for text in texts for token in (BOS, *(byte + 1 for byte in text.encode()))]
    nats = 0.0
    for place in range(1, len(stream)):
        row = (place - 1) // model.context_length * model.context_length
        if stream[place] != BOS:
            logits = torch.tensor(model.logits(stream[row:place]), dtype=torch.float64)
            nats -= logits.log_softmax(0)[stream[place]].item()
    return nats / math.log(2) / len("".join(texts).encode())


class TheirTokenizer:
    """As upstream's, with the tokens of our byte tokenizer."""

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


class TheirModel:
    """As upstream's: called with inputs and targets, -1 to be ignored, it returns the losses in one row."""

    def __init__(self, model: GPT) -> None:
        self._model = model
        self.config = type("Config", (), {"sequence_len": model.context_length})

    def __call__(self, inputs: Tensor, targets: Tensor, loss_reduction: str) -> Tensor:
        logits = self._model.forward(inputs)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction=loss_reduction)


def scored(model: Any, texts: list[str] = TEXTS) -> Score:
    return score(model, texts, lambda done, total: None)


def test_our_side_is_what_brute_force_gives() -> None:
    model = tiny_gpt()
    found = scored(OurModel(model, ByteTokenizer()))
    assert found.bpb == pytest.approx(brute_force(model, TEXTS), rel=1e-12)
    assert found.tokens == found.scored_bytes == found.text_bytes == len("".join(TEXTS).encode())


def test_our_own_evaluation_of_all_of_val_is_what_the_scorer_gives() -> None:
    """The time to a target compares the one with the other."""
    model, tokenizer = tiny_gpt(), ByteTokenizer()
    stream = array(tokenizer.typecode, [token for text in TEXTS for token in (BOS, *tokenizer.encode(text))])
    own = evaluate(model, Targets.of(memoryview(stream), tokenizer.token_bytes), model.context_length, lambda: None)
    found = scored(OurModel(model, tokenizer))
    assert (own.bpb, own.bytes) == (pytest.approx(found.bpb, rel=1e-12), found.scored_bytes)


def test_both_sides_give_the_same_for_the_same_probabilities() -> None:
    model = tiny_gpt()
    theirs = UpstreamModel(TheirModel(model), TheirTokenizer(), torch.device("cpu"), mixed=False)
    ours, upstream = scored(OurModel(model, ByteTokenizer())), scored(theirs)
    assert upstream == ours._replace(bpb=pytest.approx(ours.bpb, rel=1e-12), nats=pytest.approx(ours.nats, rel=1e-12))


class Even:
    """Every target costs as many nats as its token's number; it knows two bytes and forgets one."""

    bos, context_length, token_bytes = 0, 3, (0, 1, 0)

    def __init__(self) -> None:
        self.rows: list[list[int]] = []

    def encode(self, text: str) -> list[int]:
        return [1 if character == "a" else 2 for character in text]

    def nats(self, rows: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        self.rows += map(list, rows)
        return ([float(token) for token in row[1:]] for row in rows)


def test_documents_are_a_stream_cut_into_rows_that_share_an_edge() -> None:
    model = Even()
    found = scored(model, ["aa", "aaa"])
    assert model.rows == [[0, 1, 1, 0], [0, 1, 1, 1]]
    assert found == Score(pytest.approx(5 / math.log(2) / 5), 5.0, 5, 5, 5)  # type: ignore[arg-type]


def test_bytes_that_were_not_scored_are_told() -> None:
    found = scored(Even(), ["ab"])
    assert (found.scored_bytes, found.text_bytes) == (1, 2)
