"""A part that fails is named in the report; goals apply to CPUs with AVX-512 bf16 only."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.bench.cpu.benchmark import describe_cpu, list_matmul_figures, run_benchmark
from engines.bench.cpu.figures import compare, without_goals
from engines.bench.cpu.matmul_rates import main, parse_rates
from engines.bench.cpu.settings import CpuBenchSettings
from engines.bench.processes import OnOutput
from engines.errors import SettingsError, UserError
from engines.system import cpu


@contextlib.contextmanager
def stage(title: str) -> Iterator[OnOutput]:
    yield lambda seconds, line: None


def test_a_part_without_its_models_is_reported_and_the_rates_are_measured(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("all work and no play\n" * 100)
    settings = CpuBenchSettings(corpus=str(corpus), parts="sampling", rounds=1)
    report, failures = run_benchmark(settings, "this command", tmp_path, stage, rate_seconds=0.001)
    assert failures == ["sampling: no model was trained with this --work. Add training to --parts."]
    assert [figure.unit for figure in report.figures] == ["GFLOP/s"] * len(report.figures)
    assert "corpus.txt, 2,100 characters" in report.to_markdown() and failures[0] in report.to_markdown()
    assert json.loads(report.to_json())["notes"] == report.notes


@pytest.mark.parametrize("parts", ["", "training,speed"])
def test_an_unknown_part_is_an_error(tmp_path: Path, parts: str) -> None:
    with pytest.raises(SettingsError, match="--parts must be one or more of training,sampling"):
        run_benchmark(CpuBenchSettings(parts=parts), "", tmp_path, stage)


def test_a_folder_that_is_no_tree_is_an_error_before_anything_is_measured(tmp_path: Path) -> None:
    for name in ("nanogpt", "upstream"):
        with pytest.raises(UserError, match=f"--{name} .* not found. Give a work tree of"):
            run_benchmark(CpuBenchSettings(**{name: str(tmp_path)}), "", tmp_path, stage)


def test_rates_are_measured_for_one_thread_and_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    main(seconds=0.001)
    rates = parse_rates(json.loads(capsys.readouterr().out))
    assert {tuple(by_threads) for by_threads in rates.rates.values()} == {tuple(sorted({1, cpu.usable_cores()}))}
    assert rates.at("float32") == max(rates.rates["float32"].values()) > 0
    assert rates.at("float64") == rates.at("float32")
    assert "matrix products, float32, 1 thread" in [figure.name for figure in list_matmul_figures(rates)]


def test_the_cpu_is_described_with_its_instructions(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : fpu avx2 fma sse4_2 avx512_bf16 amx_bf16\n")
    assert cpu.list_vector_instructions(cpuinfo) == ["avx2", "fma", "avx512_bf16", "amx_bf16"]
    cpuinfo.with_name("arm").write_text("Features : fp asimd bf16 i8mm sve2\n")
    assert cpu.list_vector_instructions(cpuinfo.with_name("arm")) == ["asimd", "bf16", "i8mm", "sve2"]
    assert f"{cpu.usable_cores()} usable cores" in describe_cpu("text")[0]


def test_each_round_is_compared_with_the_same_round_of_the_other_side() -> None:
    figure = compare("speed", "times", [20.0, 30.0], [10.0, 10.0], 1.25, True)
    assert figure.values == [2.0, 3.0] and figure.limit == 1.25
    assert [each.limit for each in without_goals([figure])] == [None]
