"""Percentiles, the time to a target, and the bytes that a step of generation must read."""

import pytest

from engines.bench.nanochat.decoding import compute_bytes_per_step
from engines.bench.nanochat.summaries import compute_percentiles, find_first_reaching


def test_percentiles_do_not_depend_on_the_order_of_values() -> None:
    assert compute_percentiles([float(x) for x in range(10, -1, -1)]) == {"median": 5.0, "p10": 1.0, "p90": 9.0}
    assert compute_percentiles([2.0]) == {"median": 2.0, "p10": 2.0, "p90": 2.0}


def test_a_target_is_reached_at_the_first_evaluation_at_or_below_it() -> None:
    curve = [(0.0, 4.0), (10.0, 2.0), (20.0, 1.0), (30.0, 1.5)]
    assert find_first_reaching(curve, 1.2) == 20.0
    assert find_first_reaching(curve, 2.0) == 10.0
    assert find_first_reaching(curve, 0.9) is None


def test_a_step_reads_all_matrices_and_the_kv_cache_of_each_text() -> None:
    config = {"n_layer": 2, "n_embd": 4, "n_head": 2, "n_kv_head": 1, "vocab_size": 10}
    sizes = {"model_config": config, "prompt_tokens": 6, "decode_tokens": 4}
    matrices = 2 * 12 * 16 + 10 * 4
    keys_and_values = 2 * 2 * 1 * 2 * 8  # layers, keys and values, one head of two numbers, eight tokens
    assert compute_bytes_per_step(sizes, 3) == 2 * (matrices + 3 * keys_and_values)
    assert compute_bytes_per_step(sizes, 1) == pytest.approx(2 * (matrices + keys_and_values))
