"""The report: ratios with what was wanted, what did not go well, and what an earlier call found out."""

import json
from pathlib import Path
from typing import Any

import pytest

from engines.bench.nanochat import report
from engines.bench.nanochat.budgets import BUDGETS, WANTED
from engines.bench.nanochat.table_rows import Row, rows
from engines.errors import UserError


def training(rate: float, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "status": "ok", "reason": "", "seconds": 100.0, "peak_gpu_bytes": 3 << 30, "command": "train", "parameters": 10,
        "flops_per_token": 1e9, "steps": 4, "rows": 2, "training_seconds": seconds, "own_training_seconds": seconds - 1,
        "first_step_seconds": 9.0, "tokens_per_second": {"median": rate, "p10": rate, "p90": rate}, **more,
    }  # fmt: skip


def scored(val: float, scored_bytes: int = 7) -> dict[str, Any]:
    score = {"bpb": val, "nats": 1.0, "tokens": 3, "scored_bytes": scored_bytes, "text_bytes": 7}
    return {"status": "ok", "scores": {"val": score, "heldout": score}}


def record(**ours: Any) -> dict[str, Any]:
    mine = {
        "train 0": training(2e6, 10.0, curve=[(0.0, 4.0), (4.0, 1.3), (8.0, 1.2)]),
        "score train 0": scored(1.2),
        **ours,
    }
    theirs = {
        "tokenizer": {"status": "ok", "seconds": 5.0},
        "train 0": training(1e6, 20.0),
        "score train 0": scored(1.25),
    }
    return {
        "v": report.VERSION,
        "command": "bench nanochat",
        "budget": BUDGETS["q4"].facts(),
        "commits": {"ours": "source 123", "upstream": "92d63d4"},
        "our_commit": "abc",
        "machine": {"device": "NVIDIA H200", "torch": "2.11", "matmul_flops": 8e14, "copy_bytes": 4e12},
        "environment": {"OMP_NUM_THREADS": "1"},
        "corpus": {"val": {"documents": 1, "bytes": 7, "sha256": "0" * 64}},
        "parts": {"ours": mine, "upstream": theirs},
    }


def row(name: str, of: dict[str, Any]) -> Row:
    return next(row for row in rows(of) if row.name.startswith(name))


def test_ratios_are_ours_over_upstreams() -> None:
    found = record()
    assert (row("tokens/s", found).ratio, row("tokens/s", found).wanted) == (2.0, "at least 1")
    assert (row("training, without", found).ratio, row("training, without", found).wanted) == (0.5, "at most 1")
    assert row("val, bits", found).ratio == pytest.approx(1.2 / 1.25)


def test_mfu_is_of_the_cards_peak_and_the_other_share_of_what_was_measured() -> None:
    assert row("MFU", record()).pair == (pytest.approx(100 * 2e15 / 989e12), pytest.approx(100 * 1e15 / 989e12))
    assert row("FLOP/s", record()).pair == (pytest.approx(250.0), pytest.approx(125.0))


def test_the_time_to_the_target_is_the_first_evaluation_that_reaches_it() -> None:
    found = row("training until", record())
    assert found.pair == (8.0, 20.0) and found.ratio == pytest.approx(0.4)


def test_the_sooner_of_ours_at_the_target_counts_and_is_named() -> None:
    text = report.markdown(record())
    assert "upstream's final val soonest in the training `train 0`, of 4 steps of 2 rows." in text
    short = {"cold": True, "steps": 1060, "rows": 16, "curve": [(0.0, 4.0), (3.0, 1.3), (6.0, 1.25)]}
    found = record(short=training(2e6, 6.0, **short))
    assert row("training until", found).pair == (6.0, 20.0)
    assert row("training, without", found).pair == (10.0, 20.0)  # of the whole budget
    assert "upstream's final val soonest in the training `short`, of 1,060 steps of 16 rows." in report.markdown(found)
    missed = record(short=training(2e6, 6.0, **{**short, "curve": [(0.0, 4.0), (6.0, 1.26)]}))
    assert row("training until", missed).pair == (8.0, 20.0)


def test_the_whole_process_of_the_short_training_counts_if_it_was_cold_and_as_good() -> None:
    name = "whole process to a checkpoint as good as upstream's, cold"

    def found(final: float, cold: bool) -> list[Row]:
        short = training(2e6, 6.0, curve=[(0.0, 4.0), (6.0, final)], cold=cold)
        of = record(short=short)
        of["parts"]["upstream"]["cold start"] = {"status": "ok", "seconds": 200.0, "first_step_seconds": 30.0}
        return [row for row in rows(of) if row.name == name]

    ((ours, theirs),) = (row.pair for row in found(1.25, cold=True))
    assert (ours, theirs) == (100.0, 200.0)
    assert found(1.26, cold=True) == found(1.25, cold=False) == []


def test_the_steps_of_both_are_told() -> None:
    line = "62,914,560 tokens in rows of 2,048: ours in 960 steps of 65,536, upstream in 480 of 131,072."
    assert line in report.markdown(record())


def test_what_a_kill_costs_is_told_with_what_a_step_holds() -> None:
    lost = {"at": 30, "resumed_from": 24, "lost": 6, "gap": 0.0}
    told = {"status": "ok", "steps": 120, "kills": [lost], "same_seed_twice": 0.0, "truncated": "refused"}
    found = record(reliability=told)
    found["parts"]["upstream"]["reliability"] = told
    text = report.markdown(found)
    assert "- ours, 120 steps of 65,536 tokens, killed 1 times: at step 30, 6 steps lost" in text
    assert "- upstream, 120 steps of 131,072 tokens, killed 1 times: at step 30, 6 steps lost" in text


def test_a_target_that_is_not_reached_is_said() -> None:
    found = record(**{"train 0": training(2e6, 10.0, curve=[(0.0, 4.0), (4.0, 1.3)])})
    assert row("training until", found).pair == (None, 20.0)
    assert "Ours did not reach upstream's final val." in report.markdown(found)
    assert "did not reach" not in report.markdown(record())


def test_without_a_measurement_of_the_machine_the_rest_is_told() -> None:
    found = record(**{"train 0": training(2e6, 10.0, flops_per_token=None)})
    found["machine"] = {"device": "NVIDIA H200", "matmul_flops": 0, "copy_bytes": 0}
    assert row("MFU", found).pair[0] is None and row("tokens/s", found).ratio == 2.0
    assert "limits measured" not in report.markdown(found)


def test_variables_that_both_inherit_are_told() -> None:
    assert "- both inherit OMP_NUM_THREADS=1" in report.markdown(record())


def test_seeds_are_averaged_and_listed() -> None:
    found = record(**{"train 1": training(4e6, 30.0), "score train 1": scored(1.4)})
    assert row("tokens/s", found).pair[0] == 3e6
    assert row("val, bits", found).pair[0] == pytest.approx(1.3)
    assert "- ours, val: 1.2000, 1.4000" in report.markdown(found)


def test_a_start_counts_upstreams_tokenizer_in_a_line_of_its_own() -> None:
    found = record(**{"cold start": {"status": "ok", "seconds": 60.0, "first_step_seconds": 30.0}})
    found["parts"]["upstream"]["cold start"] = {"status": "ok", "seconds": 90.0, "first_step_seconds": 40.0}
    pairs = [row.pair for row in rows(found) if row.name.startswith(("process start", "the same with", "whole"))]
    assert pairs == [(30.0, 40.0), (30.0, 45.0), (60.0, 90.0), (60.0, 95.0)]


def test_a_score_that_misses_bytes_is_left_out_and_said() -> None:
    found = record(**{"score train 0": scored(0.1, scored_bytes=6)})
    assert row("val, bits", found).pair == (None, 1.25)
    assert "only 6 of 7 bytes of val were scored" in report.markdown(found)


def test_a_failure_is_told_with_the_end_of_its_log() -> None:
    failed = {"status": "failed", "reason": "it ended with exit code 3", "command": "x", "tail": ["Boom"]}
    text = report.markdown(record(**{"train 0": failed}))
    assert "- ours, train 0: failed: it ended with exit code 3" in text and "  Boom" in text
    assert "| tokens/s, median over steps |  | 1,000,000 |  | at least 1 |" in text


def test_the_better_of_upstreams_two_ways_to_generate_counts() -> None:
    def sweep(rate: float) -> dict[str, Any]:
        config = {"n_layer": 1, "n_embd": 1, "n_head": 1, "n_kv_head": 1, "vocab_size": 1}
        found = {"batch_size": 8, "tok_per_sec": rate, "ttft_sec": 0.5, "tpot_sec": 1e-3}
        sizes = {"prompt_tokens": 1, "decode_tokens": 2}
        return {"status": "ok", "command": "", "model_config": config, **sizes, "sweep": [found]}

    found = record(decode=sweep(900.0))
    found["parts"]["upstream"] |= {"decode": sweep(100.0), "decode without cuDNN": sweep(300.0)}
    assert row("generation, batch 8", found).pair == (900.0, 300.0)


def test_json_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = report.path_of(tmp_path, "q4", "NVIDIA H200")
    assert path.name == "nanochat-q4-h200.json"
    assert report.load(path) is None
    written = report.write(path, record())
    assert report.load(path) == json.loads(json.dumps(record()))
    assert written[1].read_text() == report.markdown(record())


def test_a_damaged_report_is_no_reason_to_write_over_it(tmp_path: Path) -> None:
    path = tmp_path / "nanochat-q4-h200.json"
    path.write_text('{"v": 1, "par')
    with pytest.raises(UserError, match="damaged"):
        report.load(path)


def test_bits_per_byte_are_compared_by_their_difference_and_with_what_is_aimed_at() -> None:
    (line,) = [line for line in report.markdown(record()).splitlines() if line.startswith("| val, bits")]
    assert line == "| val, bits per byte | 1.2000 bpb | 1.2500 bpb | -0.0500 | lower by 0.03 |"


@pytest.mark.parametrize("budget", WANTED)
def test_every_aim_is_that_of_a_line_of_the_report(budget: str) -> None:
    known = {row.name for row in rows(record())} | {"generation, batch 1", "generation, batch 128"}
    known |= {f"{split} after equal seconds of training" for split in ("val", "heldout")}
    known |= {f"process start to the end of the first step, {how}" for how in ("cold", "with caches")}
    known |= {"peak memory, as the driver tells", "whole process, with all of its evaluations, cold"}
    assert WANTED[budget].keys() <= known
