"""Generation on a CPU: sampling from the trained gpt, and a gpt of depth 4 with a long context."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from engines.bench.cpu import sides
from engines.bench.cpu.figures import PartResult, compare
from engines.bench.cpu.matmul_rates import DTYPES
from engines.bench.cpu.sides import BenchCommand, CpuBenchmark
from engines.bench.nanochat.our_training import clear_folder, find_last_checkpoint
from engines.bench.report import Figure
from engines.errors import UserError

SAMPLED_TOKENS = 1000
PROMPT_TOKENS, NEW_TOKENS, DEPTH, VOCAB_SIZE, LONG_CONTEXT = 512, 1024, 4, 8192, 2048
_DEEP = f"gpt, depth {DEPTH}, vocabulary {VOCAB_SIZE:,}"


def measure_sampling(bench: CpuBenchmark) -> PartResult:
    """Sample from the trained models as users do, and again to time each token."""
    for folder in [sides.get_results_dir(bench, "gpt"), *([sides.get_nanogpt_dir(bench)] if bench.nanogpt else [])]:
        if not folder.exists():
            raise UserError("no model was trained with this --work. Add training to --parts.")
    checkpoint = str(find_last_checkpoint(sides.get_results_dir(bench, "gpt")))
    count = str(SAMPLED_TOKENS)
    ours: dict[str, list[float]] = {"whole": [], "rate": []}
    theirs: dict[str, list[float]] = {"whole": [], "rate": []}
    for repeat in range(bench.rounds + 1):
        measured = [(ours, _sample_ours(bench, checkpoint, count))]
        if bench.nanogpt:
            measured.append((theirs, _sample_nanogpt(bench, count)))
        for side, (whole, rate) in measured if repeat else []:  # the first one fills the caches
            side["whole"].append(whole)
            side["rate"].append(rate)
    name = f"{SAMPLED_TOKENS:,} tokens from the trained gpt"
    figures = [
        Figure(f"{name}: whole process", "s", ours["whole"], 2.5),
        Figure(f"{name}: after the first token", "tokens/s", ours["rate"]),
    ]
    if bench.nanogpt:
        figures += [
            Figure(f"{SAMPLED_TOKENS:,} tokens, nanoGPT: whole process", "s", theirs["whole"]),
            Figure(f"{SAMPLED_TOKENS:,} tokens, nanoGPT: after the first token", "tokens/s", theirs["rate"]),
            compare(f"{name}: tokens/s, compared with nanoGPT", "times", ours["rate"], theirs["rate"], 3.0, True),
        ]
    return PartResult(figures, [])


def _sample_ours(bench: CpuBenchmark, checkpoint: str, count: str) -> tuple[float, float]:
    """Return the seconds of `sample`, and the tokens per second after the first token."""
    timed = sides.run_our_module(bench, "gpt: tokens/s", "engines.bench.cpu.our_decoding", "sample", checkpoint, count)
    words = ("sample", checkpoint, "--max-new-tokens", count, "--seed", str(timed["seed"]), "--device", "cpu")
    return sides.run_ours(bench, "gpt: sample", *words).seconds, timed["tokens_per_second"]


def _sample_nanogpt(bench: CpuBenchmark, count: str) -> tuple[float, float]:
    """Return the same of nanoGPT's sample.py."""
    flags = ("--out_dir=out", "--device=cpu", "--num_samples=1", f"--max_new_tokens={count}")
    outcome = sides.run_nanogpt(bench, "nanoGPT: sample", "sample.py", *flags)
    program = str(Path(__file__).with_name("nanogpt_decoding.py"))
    timed = sides.read_json(sides.run_nanogpt(bench, "nanoGPT: tokens/s", "-P", program, "out", count))
    return outcome.seconds, timed["tokens_per_second"]


def measure_generation(bench: CpuBenchmark) -> PartResult:
    """Generate greedily after a long prompt with our gpt and with nanochat's engine, in turn."""
    checkpoint = str(_train_deep(bench))
    words = ("greedy", checkpoint, str(NEW_TOKENS), str(PROMPT_TOKENS))
    measures: dict[str, Callable[[], Any]] = {
        "ours": lambda: sides.run_our_module(bench, f"{_DEEP}: generation", "engines.bench.cpu.our_decoding", *words)
    }
    if bench.upstream:
        measures |= {dtype: partial(_run_nanochat, bench, bench.upstream, dtype) for dtype in DTYPES}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in measures}
    for _ in range(bench.rounds):
        for name, measure in measures.items():
            results[name].append(measure())
    rates = {name: [each["tokens_per_second"] for each in values] for name, values in results.items()}
    name = f"{_DEEP}: {NEW_TOKENS:,} tokens after a prompt of {PROMPT_TOKENS}"
    figures = [
        Figure(name, "tokens/s", rates["ours"], 300, True),
        Figure(f"{_DEEP}: first token after the prompt", "s", [each["first_token"] for each in results["ours"]]),
    ]
    if bench.upstream:
        figures += [Figure(f"the same with nanochat, {dtype}", "tokens/s", rates[dtype]) for dtype in DTYPES]
        best = [max(each) for each in zip(*(rates[dtype] for dtype in DTYPES), strict=True)]
        figures.append(
            Figure(
                "generation, compared with nanochat's faster dtype",
                "times",
                [a / b for a, b in zip(rates["ours"], best, strict=True)],
            )
        )
    return PartResult(figures, [])


def _train_deep(bench: CpuBenchmark) -> Path:
    """Train for one step, since the weights do not matter; return the checkpoint."""
    results = sides.get_results_dir(bench, "deep")
    clear_folder(results)
    words = ["train", "--results-dir", str(results), "--model-kind", "gpt", "--depth", str(DEPTH), "--device", "cpu"]
    words += ["--vocab-size", str(VOCAB_SIZE), "--context-length", str(LONG_CONTEXT), "--batch-size", "1"]
    words += ["--steps", "1", "--eval-every", "0", "--eval-tokens", "256", "--sample-tokens", "0", "--data", "pydoc"]
    sides.run_ours(bench, f"{_DEEP}: one step", *words)
    return find_last_checkpoint(results)


def _run_nanochat(bench: CpuBenchmark, tree: Path, dtype: str) -> Any:
    """Generate with nanochat's engine. Its code is not compiled, and nothing is written into its tree."""
    environment = {
        "NANOCHAT_BASE_DIR": str(bench.work / "nanochat"),
        "NANOCHAT_DTYPE": dtype,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(tree),
        "TORCHDYNAMO_DISABLE": "1",
    }
    sizes = (PROMPT_TOKENS, NEW_TOKENS, DEPTH, VOCAB_SIZE, LONG_CONTEXT)
    words = [sys.executable, "-P", str(Path(__file__).with_name("nanochat_decoding.py")), *map(str, sizes)]
    return sides.read_json(bench.run(BenchCommand(f"nanochat, {dtype}: generation", words, environment, bench.work)))
