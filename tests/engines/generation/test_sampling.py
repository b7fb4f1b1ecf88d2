"""Sampling: a sample in a batch equals the sample alone. Evaluation: bits per byte have their defined value."""

import math
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.data.tokenizers import BOS, ByteTokenizer, CharTokenizer
from engines.errors import UserError
from engines.generation.decoding import FullContextDecoder
from engines.generation.sampling import GeneratedToken, generate, generate_documents
from engines.interfaces import Decoder
from engines.settings.sample import SampleSettings
from engines.training.evaluation import Targets, evaluate


class Fixed:
    """A model that always says the same."""

    parameter_count, compiles_decoding = 0, False

    def __init__(self, *probabilities: float, context_length: int = 1) -> None:
        self._logits = [math.log(p) if p else -math.inf for p in probabilities]
        self.context_length = context_length
        self.contexts: list[Sequence[int]] = []

    def logits(self, context: Sequence[int]) -> Sequence[float]:
        self.contexts.append(context)
        return self._logits

    def score(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[-self._logits[target] for target in row[1:]] for row in rows]

    def decoder(self, prompts: Sequence[Sequence[int]]) -> Decoder:
        return FullContextDecoder([self.logits] * len(prompts), self.context_length, prompts)


class Circle(Fixed):
    """A model that is sure of what follows each token."""

    def __init__(self, vocab_size: int, followers: dict[int, int]) -> None:
        super().__init__()
        self._vocab_size = vocab_size
        self._followers = followers

    def logits(self, context: Sequence[int]) -> Sequence[float]:
        follower = self._followers[context[-1]]
        return [0.0 if token == follower else -math.inf for token in range(self._vocab_size)]


def test_a_sample_ends_with_the_document_or_at_its_length() -> None:
    tokenizer = CharTokenizer("ab")
    endless = list(generate(Fixed(0.0, 0.5, 0.5), tokenizer, SampleSettings(max_new_tokens=30)))
    assert len(endless) == 30 and {token.text for token in endless} == {"a", "b"}
    (end,) = generate(Fixed(1.0, 0.0, 0.0), tokenizer, SampleSettings())
    assert end.id == BOS and end.text == "" and end.probability == 1.0


def test_the_last_token_of_a_sample_is_marked() -> None:
    three = generate(Fixed(0.0, 0.5, 0.5), CharTokenizer("ab"), SampleSettings(max_new_tokens=3))
    assert [token.last for token in three] == [False, False, True]
    (end,) = generate(Fixed(1.0, 0.0, 0.0), CharTokenizer("ab"), SampleSettings())
    assert end.last


def text(sample: int, **how: int) -> str:
    tokens = generate(Fixed(0.0, 0.5, 0.5), CharTokenizer("ab"), SampleSettings(**how), (sample,))
    return "".join(token.text for token in tokens)


def test_a_sample_is_a_function_of_its_seed_and_index() -> None:
    assert text(0) == text(0) and len({text(0), text(1), text(0, seed=2)}) == 3


@given(samples=st.lists(st.integers(0, 50), unique=True, max_size=6), bos=st.floats(0.05, 0.6))
def test_samples_of_a_batch_equal_samples_generated_alone(samples: list[int], bos: float) -> None:
    """Though some end earlier than others."""

    def drawn(samples: Sequence[int]) -> list[GeneratedToken]:
        model = Fixed(bos, (1 - bos) / 2, (1 - bos) / 2)
        return list(generate(model, CharTokenizer("ab"), SampleSettings(max_new_tokens=12), samples))

    together = drawn(samples)
    assert {token.sample for token in together} == set(samples)
    for sample in samples:
        assert [token for token in together if token.sample == sample] == drawn([sample])


def test_samples_alternate() -> None:
    tokens = generate(Fixed(0.0, 0.5, 0.5), CharTokenizer("ab"), SampleSettings(max_new_tokens=2), (3, 1))
    assert [token.sample for token in tokens] == [3, 1, 3, 1]


def test_a_character_of_several_tokens_is_complete_or_a_replacement_at_the_end_of_the_sample() -> None:
    tokenizer = ByteTokenizer()
    first, second = tokenizer.encode("é")
    one_after_another = Circle(tokenizer.vocab_size, {BOS: first, first: second, second: first})

    def texts(count: int) -> list[str]:
        return [token.text for token in generate(one_after_another, tokenizer, SampleSettings(max_new_tokens=count))]

    assert texts(4) == ["", "é", "", "é"] and texts(3) == ["", "é", "\ufffd"]


def test_the_model_sees_no_more_than_its_context() -> None:
    model = Fixed(0.0, 0.5, 0.5, context_length=4)
    list(generate(model, CharTokenizer("ab"), SampleSettings(prompt="aba", max_new_tokens=6)))
    assert model.contexts[0] == [BOS, 1, 2, 1] and {len(context) for context in model.contexts} == {4}


def test_documents_fill_their_length_unless_there_is_a_prompt() -> None:
    model = Fixed(0.5, 0.25, 0.25)
    assert generate_documents(model, CharTokenizer("ab"), SampleSettings(max_new_tokens=40)).count("\n") > 5
    assert "\n" not in generate_documents(model, CharTokenizer("ab"), SampleSettings(max_new_tokens=40, prompt="a"))


def test_bits_per_byte_count_the_bytes_of_the_text_without_bos() -> None:
    tokenizer = CharTokenizer("aé")  # 1 and 2 bytes
    tokens = memoryview(array("B", [BOS, 1, 2, BOS, 2]))
    result = evaluate(Fixed(0.5, 0.25, 0.25), Targets.of(tokens, tokenizer.token_bytes), 2, lambda: None)
    assert result.tokens == 4 and result.bytes == 1 + 2 + 2
    assert result.loss == pytest.approx((3 * math.log(4) + math.log(2)) / 4)
    assert result.bpb == pytest.approx(3 * 2 / 5)  # three characters of two bits over five bytes


@given(length=st.integers(2, 40), context=st.integers(1, 9), limit=st.integers(0, 50))
def test_every_token_is_scored_once(length: int, context: int, limit: int) -> None:
    tokens = memoryview(array("B", [1] * length))
    result = evaluate(Fixed(0.5, 0.5), Targets.of(tokens, [0, 1], limit), context, lambda: None)
    assert result.tokens == result.bytes == min(length - 1, limit or length)


def test_an_unknown_character_in_the_prompt_is_an_error_before_the_first_token() -> None:
    model = Fixed(0.5, 0.5)
    with pytest.raises(UserError, match="character 'x' at position 1"):
        next(generate(model, CharTokenizer("a"), SampleSettings(prompt="ax")))
    assert model.contexts == []


def test_probabilities_of_a_token_do_not_depend_on_the_temperature() -> None:
    tokenizer = CharTokenizer("abcdef")
    model = Fixed(0.0, 0.4, 0.3, 0.1, 0.1, 0.06, 0.04)
    (token,) = generate(model, tokenizer, SampleSettings(temperature=0.001, max_new_tokens=1))
    assert token.text == "a" and token.probability == pytest.approx(0.4)
    assert [text for text, _ in token.alternatives] == ["a", "b", "c", "d", "e"]
    assert [p for _, p in token.alternatives] == pytest.approx([0.4, 0.3, 0.1, 0.1, 0.06])


def test_no_tokens_give_no_text() -> None:
    nothing = SampleSettings(max_new_tokens=0)
    assert list(generate(Fixed(0.5, 0.5), CharTokenizer("a"), nothing)) == []
    assert list(generate(Fixed(0.5, 0.5), CharTokenizer("a"), SampleSettings(), ())) == []
    assert generate_documents(Fixed(0.5, 0.5), CharTokenizer("a"), nothing) == ""
