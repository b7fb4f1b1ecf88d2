"""Scaling rules: what follows from the depth, and how given values change it."""

import math
from typing import Any

import pytest

from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings


def gpt(**given: Any) -> TrainSettings:
    return resolve({"model_kind": "gpt", **given})


@pytest.mark.parametrize(
    ("depth", "width", "heads", "steps", "tokens_per_step"),
    [(4, 256, 2, 960, 65_536), (6, 384, 3, 1260, 131_072)],
)
def test_depth_gives_nanochats_values_except_for_half_the_batch_size(
    depth: int, width: int, heads: int, steps: int, tokens_per_step: int
) -> None:
    settings = gpt(depth=depth, vocab_size=8192)
    assert (settings.layers, settings.width, settings.heads, settings.kv_heads) == (depth, width, heads, heads)
    assert (settings.steps, settings.tokens_per_step) == (steps, tokens_per_step)


def test_depth_12_has_the_tuned_constants() -> None:
    settings = gpt(depth=12, batch_size=256)
    assert gpt(depth=12).batch_size == 128 and settings.tokens_per_step == 1 << 19
    assert settings.vocab_size == 32768 and settings.width == 768
    rates = (settings.lr, settings.embedding_lr, settings.head_lr, settings.scalar_lr, settings.weight_decay)
    assert rates == pytest.approx((0.02, 0.3, 0.008, 0.5, 0.28))


def test_learning_rates_scale_with_batch_size_and_width() -> None:
    settings = gpt(depth=4)
    batch, narrowness = math.sqrt(65_536 / 524_288), 768 / 256
    assert settings.lr == pytest.approx(0.02 * batch * math.sqrt(narrowness))
    assert settings.embedding_lr == pytest.approx(0.3 * batch * narrowness)
    assert settings.head_lr == pytest.approx(0.008 * batch * narrowness)
    assert settings.scalar_lr == pytest.approx(0.5 * batch)
    scaling = 12 * 4 * 256**2 + 8192 * 256
    reference = 12 * 12 * 768**2 + 8192 * 768
    assert settings.weight_decay == pytest.approx(0.28 * batch * reference / scaling)


def test_wider_models_keep_nanochats_learning_rates() -> None:
    settings = gpt(depth=12, width=3072, batch_size=256)
    rates = (settings.lr, settings.embedding_lr, settings.head_lr, settings.scalar_lr)
    assert rates == pytest.approx((0.02, 0.3 / 2, 0.008 / 2, 0.5))


@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 0.002), ("sgd", 0.1)])
def test_matrix_learning_rates_of_other_optimizers_do_not_depend_on_the_width(optimizer: str, rate: float) -> None:
    assert gpt(depth=4, optimizer=optimizer).lr == pytest.approx(rate * math.sqrt(65_536 / 524_288))


def test_the_default_depth_is_4_and_the_vocabulary_grows_above_8() -> None:
    assert gpt() == gpt(depth=4)
    assert [gpt(depth=depth).vocab_size for depth in (1, 8, 9, 20)] == [8192, 8192, 32768, 32768]


@pytest.mark.parametrize("depth", range(1, 65))
def test_every_depth_gives_consistent_values(depth: int) -> None:
    settings = gpt(depth=depth)
    assert settings.width >= 64 * depth and settings.width == 128 * settings.heads
    assert settings.tokens_per_step == 2 ** round(math.log2(settings.tokens_per_step)) and settings.steps >= 1
    assert 0 < settings.warmup_fraction <= 0.2


HAND_SET = {
    "layers": 5, "width": 512, "heads": 8, "kv_heads": 2, "vocab_size": 1000, "batch_size": 24, "steps": 77,
    "lr": 0.5, "embedding_lr": 0.6, "head_lr": 0.7, "scalar_lr": 0.8, "weight_decay": 0.9, "warmup_fraction": 0.01,
}  # fmt: skip


@pytest.mark.parametrize("name", HAND_SET)
def test_given_values_are_kept(name: str) -> None:
    assert getattr(gpt(**{name: HAND_SET[name]}), name) == HAND_SET[name]


def test_every_derived_value_can_be_given() -> None:
    settings = gpt(**HAND_SET)
    assert {name: getattr(settings, name) for name in HAND_SET} == HAND_SET


def test_dependent_values_follow_given_ones() -> None:
    usual, half = gpt(), gpt(batch_size=16)
    assert half.steps == 2 * usual.steps and half.lr == pytest.approx(usual.lr / math.sqrt(2))
    wide = gpt(width=512)
    assert (wide.layers, wide.heads, wide.kv_heads) == (4, 4, 4) and wide.steps != usual.steps
    assert gpt(layers=9).vocab_size == 32768 and gpt(layers=9).width == 256
    assert gpt(heads=4).kv_heads == 4


def test_learning_rates_do_not_depend_on_given_steps() -> None:
    usual, short = gpt(), gpt(steps=100)
    assert (short.lr, short.weight_decay, short.batch_size) == (usual.lr, usual.weight_decay, usual.batch_size)
    assert short.warmup_fraction == 0.2 and gpt(steps=400).warmup_fraction == 0.1 and gpt(steps=0).warmup_fraction == 0


def test_a_shorter_context_gives_a_larger_batch() -> None:
    assert gpt(context_length=512).tokens_per_step == gpt().tokens_per_step
    assert gpt(context_length=1 << 20).batch_size == 1


def test_the_batch_size_is_a_power_of_two_for_any_context() -> None:
    assert gpt(context_length=1000).batch_size == 64 and gpt(context_length=3000).batch_size == 32


def test_a_long_warmdown_shortens_the_warmup() -> None:
    assert gpt(steps=100, warmdown_fraction=0.9).warmup_fraction == pytest.approx(0.1)
    assert gpt(steps=100, warmdown_fraction=1).warmup_fraction == 0


def test_a_token_budget_decides_the_steps_and_a_time_budget_does_not() -> None:
    assert gpt(tokens="1M").steps == math.ceil(1_000_000 / 65_536)
    assert gpt(time_budget="5m").steps == gpt(target_bpb=1.0).steps == 960


def test_other_optimizers_have_their_own_learning_rates_and_no_weight_decay() -> None:
    rates = {optimizer: gpt(optimizer=optimizer).lr for optimizer in ("muon", "adamw", "sgd")}
    assert rates["adamw"] < rates["muon"] < rates["sgd"]
    assert gpt(optimizer="adamw").weight_decay == 0


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_the_vocabulary_of_a_char_tokenizer_is_left_open(tokenizer: str) -> None:
    settings = gpt(tokenizer=tokenizer)
    assert settings.vocab_size == 0 and settings.steps == 12 * (12 * 4 * 256**2 + 256 * 256) // settings.tokens_per_step


def test_the_learning_rate_boost_is_limited_to_measured_widths() -> None:
    """The boost of depth 4 is the largest; models wider than nanochat's reference have none."""
    rates = {depth: resolve({"model_kind": "gpt", "depth": depth, "batch_size": 256}).lr for depth in (1, 4, 12, 20)}
    assert rates[1] == pytest.approx(rates[4]) == pytest.approx(math.sqrt(3) * rates[12])
    assert rates[20] == rates[12]
