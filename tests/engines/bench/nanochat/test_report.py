"""The report of a benchmark: ratios and goals, failures, and the record of earlier calls."""

import json
from pathlib import Path
from typing import Any

import pytest

from engines.bench.nanochat import report
from engines.bench.nanochat.budgets import BUDGETS, GOALS
from engines.bench.nanochat.table_rows import ComparisonRow, build_rows
from engines.errors import UserError


def make_training(rate: float, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "status": "ok", "reason": "", "seconds": 100.0, "peak_gpu_bytes": 3 << 30, "command": "train", "parameters": 10,
        "flops_per_token": 1e9, "steps": 4, "rows": 2, "training_seconds": seconds, "own_training_seconds": seconds - 1,
        "first_step_seconds": 9.0, "tokens_per_second": {"median": rate, "p10": rate, "p90": rate}, **more,
    }  # fmt: skip


def make_score(val: float, scored_bytes: int = 7) -> dict[str, Any]:
    score = {"bpb": val, "nats": 1.0, "tokens": 3, "scored_bytes": scored_bytes, "text_bytes": 7}
    return {"status": "ok", "scores": {"val": score, "heldout": score}}


def make_record(**ours: Any) -> dict[str, Any]:
    mine = {
        "train 0": make_training(2e6, 10.0, curve=[(0.0, 4.0), (4.0, 1.3), (8.0, 1.2)]),
        "score train 0": make_score(1.2),
        **ours,
    }
    theirs = {
        "tokenizer": {"status": "ok", "seconds": 5.0},
        "train 0": make_training(1e6, 20.0),
        "score train 0": make_score(1.25),
    }
    return {
        "v": report.VERSION,
        "command": "bench nanochat",
        "budget": BUDGETS["q4"].as_json(),
        "commits": {"ours": "source 123", "upstream": "92d63d4"},
        "our_commit": "abc",
        "machine": {"device": "NVIDIA H200", "torch": "2.11", "matmul_flops": 8e14, "copy_bytes": 4e12},
        "environment": {"OMP_NUM_THREADS": "1"},
        "corpus": {"val": {"documents": 1, "bytes": 7, "sha256": "0" * 64}},
        "parts": {"ours": mine, "upstream": theirs},
    }


def find_row(name: str, record: dict[str, Any]) -> ComparisonRow:
    return next(row for row in build_rows(record) if row.name.startswith(name))


def test_ratios_are_ours_divided_by_upstreams() -> None:
    found = make_record()
    assert (find_row("tokens/s", found).ratio, find_row("tokens/s", found).goal) == (2.0, "at least 1")
    assert (find_row("training time, without", found).ratio, find_row("training time, without", found).goal) == (
        0.5,
        "at most 1",
    )
    assert find_row("val, bits", found).ratio == pytest.approx(1.2 / 1.25)


def test_mfu_refers_to_the_peak_and_the_other_share_to_the_measured_rate() -> None:
    assert find_row("MFU", make_record()).pair == (
        pytest.approx(100 * 2e15 / 989e12),
        pytest.approx(100 * 1e15 / 989e12),
    )
    assert find_row("share of", make_record()).pair == (pytest.approx(250.0), pytest.approx(125.0))


def test_the_time_to_the_target_is_that_of_the_first_evaluation_that_reaches_it() -> None:
    found = find_row("training time to", make_record())
    assert found.pair == (8.0, 20.0) and found.ratio == pytest.approx(0.4)


def test_the_first_of_our_trainings_to_reach_the_target_counts_and_is_named() -> None:
    text = report.render_markdown(make_record())
    assert "upstream's final val first in the training `train 0` with 4 steps of 2 rows." in text
    short = {"cold": True, "steps": 1060, "rows": 16, "curve": [(0.0, 4.0), (3.0, 1.3), (6.0, 1.25)]}
    found = make_record(short=make_training(2e6, 6.0, **short))
    assert find_row("training time to", found).pair == (6.0, 20.0)
    assert find_row("training time, without", found).pair == (10.0, 20.0)  # those of the whole budget
    assert "upstream's final val first in the training `short` with 1,060 steps of 16 rows." in report.render_markdown(
        found
    )
    missed = make_record(short=make_training(2e6, 6.0, **{**short, "curve": [(0.0, 4.0), (6.0, 1.26)]}))
    assert find_row("training time to", missed).pair == (8.0, 20.0)


def test_the_short_training_counts_if_it_started_without_caches_and_was_as_good() -> None:
    name = "whole process to a checkpoint as good as upstream's, without caches"

    def build(final: float, cold: bool) -> list[ComparisonRow]:
        short = make_training(2e6, 6.0, curve=[(0.0, 4.0), (6.0, final)], cold=cold)
        record = make_record(short=short)
        record["parts"]["upstream"]["cold start"] = {"status": "ok", "seconds": 200.0, "first_step_seconds": 30.0}
        return [row for row in build_rows(record) if row.name == name]

    ((ours, theirs),) = (row.pair for row in build(1.25, cold=True))
    assert (ours, theirs) == (100.0, 200.0)
    assert build(1.26, cold=True) == build(1.25, cold=False) == []


def test_the_steps_of_both_sides_are_stated() -> None:
    line = "62,914,560 tokens in rows of 2,048: ours in 960 steps of 65,536, upstream in 480 of 131,072."
    assert line in report.render_markdown(make_record())


def test_the_cost_of_kills_is_stated_with_the_tokens_per_step() -> None:
    lost = {"at": 30, "resumed_from": 24, "lost": 6, "gap": 0.0}
    part = {"status": "ok", "steps": 120, "kills": [lost], "same_seed_twice": 0.0, "truncated": "refused"}
    found = make_record(reliability=part)
    found["parts"]["upstream"]["reliability"] = part
    text = report.render_markdown(found)
    assert "- ours, 120 steps of 65,536 tokens, killed 1 times: at step 30, 6 steps lost" in text
    assert "- upstream, 120 steps of 131,072 tokens, killed 1 times: at step 30, 6 steps lost" in text


def test_a_target_that_is_not_reached_is_stated() -> None:
    found = make_record(**{"train 0": make_training(2e6, 10.0, curve=[(0.0, 4.0), (4.0, 1.3)])})
    assert find_row("training time to", found).pair == (None, 20.0)
    assert "Ours did not reach upstream's final val." in report.render_markdown(found)
    assert "did not reach" not in report.render_markdown(make_record())


def test_a_report_without_measured_limits_has_all_other_rows() -> None:
    found = make_record(**{"train 0": make_training(2e6, 10.0, flops_per_token=None)})
    found["machine"] = {"device": "NVIDIA H200", "matmul_flops": 0, "copy_bytes": 0}
    assert find_row("MFU", found).pair[0] is None and find_row("tokens/s", found).ratio == 2.0
    assert "measured limits" not in report.render_markdown(found)


def test_relevant_environment_variables_are_listed() -> None:
    assert "- environment of both: OMP_NUM_THREADS=1" in report.render_markdown(make_record())


def test_seeds_are_averaged_and_listed() -> None:
    found = make_record(**{"train 1": make_training(4e6, 30.0), "score train 1": make_score(1.4)})
    assert find_row("tokens/s", found).pair[0] == 3e6
    assert find_row("val, bits", found).pair[0] == pytest.approx(1.3)
    assert "- ours, val: 1.2000, 1.4000" in report.render_markdown(found)


def test_the_training_of_upstreams_tokenizer_is_added_in_a_separate_row() -> None:
    found = make_record(**{"cold start": {"status": "ok", "seconds": 60.0, "first_step_seconds": 30.0}})
    found["parts"]["upstream"]["cold start"] = {"status": "ok", "seconds": 90.0, "first_step_seconds": 40.0}
    pairs = [row.pair for row in build_rows(found) if row.name.startswith(("process start", "the same, plus", "whole"))]
    assert pairs == [(30.0, 40.0), (30.0, 45.0), (60.0, 90.0), (60.0, 95.0)]


def test_an_incomplete_score_is_left_out_and_listed_as_a_failure() -> None:
    found = make_record(**{"score train 0": make_score(0.1, scored_bytes=6)})
    assert find_row("val, bits", found).pair == (None, 1.25)
    assert "only 6 of 7 bytes of val were scored" in report.render_markdown(found)


def test_a_failure_is_listed_with_the_end_of_its_output() -> None:
    failed = {"status": "failed", "reason": "exit code 3", "command": "x", "tail": ["Boom"]}
    text = report.render_markdown(make_record(**{"train 0": failed}))
    assert "- ours, train 0: failed: exit code 3" in text and "  Boom" in text
    assert "| tokens/s, median over steps |  | 1,000,000 |  | at least 1 |" in text


def test_the_faster_of_upstreams_two_ways_to_generate_counts() -> None:
    def sweep(rate: float) -> dict[str, Any]:
        config = {"n_layer": 1, "n_embd": 1, "n_head": 1, "n_kv_head": 1, "vocab_size": 1}
        found = {"batch_size": 8, "tok_per_sec": rate, "ttft_sec": 0.5, "tpot_sec": 1e-3}
        sizes = {"prompt_tokens": 1, "decode_tokens": 2}
        return {"status": "ok", "command": "", "model_config": config, **sizes, "sweep": [found]}

    found = make_record(decode=sweep(900.0))
    found["parts"]["upstream"] |= {"decode": sweep(100.0), "decode without cuDNN": sweep(300.0)}
    assert find_row("generation, batch 8", found).pair == (900.0, 300.0)


def test_a_record_is_read_back_from_json(tmp_path: Path) -> None:
    path = report.get_report_path(tmp_path, "q4", "NVIDIA H200")
    assert path.name == "nanochat-q4-h200.json"
    assert report.load_record(path) is None
    written = report.write_report(path, make_record())
    assert report.load_record(path) == json.loads(json.dumps(make_record()))
    assert written[1].read_text() == report.render_markdown(make_record())


def test_a_damaged_report_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "nanochat-q4-h200.json"
    path.write_text('{"v": 1, "par')
    with pytest.raises(UserError, match="damaged"):
        report.load_record(path)


def test_bits_per_byte_are_compared_by_their_difference() -> None:
    (line,) = [line for line in report.render_markdown(make_record()).splitlines() if line.startswith("| val, bits")]
    assert line == "| val, bits per byte | 1.2000 bpb | 1.2500 bpb | -0.0500 | lower by 0.03 |"


@pytest.mark.parametrize("budget", GOALS)
def test_every_goal_belongs_to_a_row_of_the_report(budget: str) -> None:
    known = {row.name for row in build_rows(make_record())} | {"generation, batch 1", "generation, batch 128"}
    known |= {f"{split} after equal training time, bits per byte" for split in ("val", "heldout")}
    known |= {f"process start to end of the first step, {how}" for how in ("without caches", "with caches")}
    known |= {"peak GPU memory reported by the driver", "whole process with all evaluations, without caches"}
    assert GOALS[budget].keys() <= known
