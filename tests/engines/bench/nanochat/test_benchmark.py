"""Races: failures are recorded, and earlier measurements are kept."""

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from fake_upstream import make_corpus, make_tree

from engines.bench.nanochat import corpus
from engines.bench.nanochat.benchmark import BenchmarkProgress, run_benchmark
from engines.bench.nanochat.budgets import BUDGETS
from engines.bench.nanochat.tasks import NanochatBenchmark

LIMITS = {"device": "cpu", "torch": "2.13", "matmul_flops": 1e12, "copy_bytes": 1e10}
SILENT = BenchmarkProgress(lambda text: None, lambda title: nullcontext(lambda seconds, line: None))


@pytest.fixture
def bench(tmp_path: Path) -> NanochatBenchmark:
    """Return a benchmark of upstream's side alone, with limits of the machine that are not measured."""
    source = make_corpus(tmp_path)
    return NanochatBenchmark(
        budget=BUDGETS["smoke"],
        tree=tmp_path / "upstream",
        ref="abc",
        corpus=source,
        corpus_id=corpus.compute_identity(source),
        work=tmp_path / "work",
        device="cpu",
        sides=("upstream",),
        missing=False,
        seeds=1,
        timeout=60.0,
        equal_time=False,
        second_start=False,
        short=False,
        decode=False,
        reliability=0,
        kills_at_once=1,
        our_flags=[],
        their_flags=[],
        limits_command=("-c", f"print({json.dumps(LIMITS)!r})"),
    )


def run(bench: NanochatBenchmark) -> tuple[dict[str, Any], Path]:
    """Run a benchmark; return the record as it was written, and its path."""
    _, paths = run_benchmark(bench, "bench nanochat", bench.work.parent / "reports", SILENT)
    return json.loads(paths[0].read_text()), paths[0]


def test_only_relevant_environment_variables_are_recorded(
    bench: NanochatBenchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if name.startswith(("CUDA_", "CUBLAS_", "NANOCHAT_", "OMP_", "PYTORCH_", "TORCH")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("CUDA_HOME", "/somewhere")
    make_tree(bench.tree.parent, "raise SystemExit(3)")
    assert run(bench)[0]["environment"] == {"OMP_NUM_THREADS": "1"}


def test_a_process_that_exceeds_the_timeout_is_recorded(bench: NanochatBenchmark) -> None:
    make_tree(bench.tree.parent, "import time; time.sleep(600)")
    part = run(bench._replace(timeout=1.0))[0]["parts"]["upstream"]["train 0"]
    assert (part["status"], part["reason"]) == ("timeout", "exceeded --timeout 1 s")


def test_measurements_of_the_other_side_are_kept(bench: NanochatBenchmark) -> None:
    make_tree(bench.tree.parent, "raise SystemExit(3)")
    known, path = run(bench)
    known["parts"]["ours"] = {"train 0": {"status": "failed", "reason": "of an earlier call"}}
    path.write_text(json.dumps(known))
    assert run(bench)[0]["parts"]["ours"] == known["parts"]["ours"]
    of_other_commit = bench._replace(ref="def")
    kept, _ = run(of_other_commit)
    assert kept["parts"]["ours"] == known["parts"]["ours"] and kept["commits"]["upstream"] == "def"
    with_other_options = of_other_commit._replace(our_flags=["--threads", "1"])
    assert "ours" not in run(with_other_options)[0]["parts"]


def test_the_start_without_caches_is_kept_when_later_ones_have_caches(bench: NanochatBenchmark) -> None:
    log = Path(__file__).with_name("base_train-92d63d4.log")
    script = f"""
import os
print(open({str(log)!r}).read())
os.makedirs(os.environ["TORCHINDUCTOR_CACHE_DIR"], exist_ok=True)
"""
    make_tree(bench.tree.parent, script)
    bench = bench._replace(budget=BUDGETS["s6"])
    first = run(bench)[0]["parts"]["upstream"]
    assert first["train 0"]["status"] == "ok" and first["train 0"]["cold"]
    assert first["cold start"]["first_step_seconds"] == first["train 0"]["first_step_seconds"]
    assert run(bench._replace(missing=True))[0]["parts"]["upstream"] == first
    second = run(bench)[0]["parts"]["upstream"]
    assert not second["train 0"]["cold"] and second["cold start"] == first["cold start"]
    assert second["tokenizer"] == {"status": "ok", "seconds": first["tokenizer"]["seconds"]}


def test_a_short_start_without_caches_does_not_replace_a_whole_training(bench: NanochatBenchmark) -> None:
    log = Path(__file__).with_name("base_train-92d63d4.log")
    make_tree(bench.tree.parent, f"print(open({str(log)!r}).read())")
    bench = bench._replace(budget=BUDGETS["s6"])
    first = run(bench)[0]["parts"]["upstream"]["cold start"]
    parts = run(bench._replace(missing=True, second_start=True))[0]["parts"]["upstream"]
    assert parts["second start"]["cold"] and parts["cold start"] == first
