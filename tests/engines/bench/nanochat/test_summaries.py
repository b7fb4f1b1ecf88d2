"""Spreads, the time to a target, and what a step of generation must read."""

import pytest

from engines.bench.nanochat.decoding import bytes_of_step
from engines.bench.nanochat.summaries import first_reaching, percentiles


def test_percentiles_are_those_of_the_values_in_order() -> None:
    assert percentiles([float(x) for x in range(10, -1, -1)]) == {"median": 5.0, "p10": 1.0, "p90": 9.0}
    assert percentiles([2.0]) == {"median": 2.0, "p10": 2.0, "p90": 2.0}


def test_a_target_is_reached_at_the_first_evaluation_at_or_below_it_without_interpolation() -> None:
    curve = [(0.0, 4.0), (10.0, 2.0), (20.0, 1.0), (30.0, 1.5)]
    assert first_reaching(curve, 1.2) == 20.0
    assert first_reaching(curve, 2.0) == 10.0
    assert first_reaching(curve, 0.9) is None


def test_a_step_reads_the_matrices_and_what_was_kept_of_each_text() -> None:
    config = {"n_layer": 2, "n_embd": 4, "n_head": 2, "n_kv_head": 1, "vocab_size": 10}
    told = {"model_config": config, "prompt_tokens": 6, "decode_tokens": 4}
    matrices = 2 * 12 * 16 + 10 * 4
    keys_and_values = 2 * 2 * 1 * 2 * 8  # of layers, both, one head of two numbers, eight tokens
    assert bytes_of_step(told, 3) == 2 * (matrices + 3 * keys_and_values)
    assert bytes_of_step(told, 1) == pytest.approx(2 * (matrices + keys_and_values))
