"""Estimates: counted values equal counts by hand or built models; estimated values are close to measurements."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.cost.flops import flops_per_token
from engines.cost.gpu_models import peak_flops
from engines.cost.machine import Machine, resolve_for_machine, this_machine
from engines.cost.memory import activation_bytes_per_row, choose_micro_batch, divisors, largest_micro_batch
from engines.cost.plan import Estimate, estimate
from engines.cost.vocab_size import expected_vocab_size
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

PROCESSOR = Machine(None, 4)
H200 = Machine("NVIDIA H200", 16)
TINY_GPT = {
    "model_kind": "gpt", "layers": 2, "width": 8, "heads": 2, "kv_heads": 1, "context_length": 16, "batch_size": 12,
}  # fmt: skip


def estimated(vocab_size: int, machine: Machine = PROCESSOR, **given: Any) -> Estimate:
    return estimate(resolve(given), vocab_size, machine)


def gpt(**given: Any) -> TrainSettings:
    return resolve({"model_kind": "gpt", **given})


# --- counted --------------------------------------------------------------------------------------


def test_parameters_of_a_small_gpt_equal_a_count_by_hand() -> None:
    found = estimated(10, **TINY_GPT)
    assert found.parameters == {
        "embedding": 64 * 8,  # the vocabulary is rounded up to 64
        "head": 64 * 8,
        "attention": 2 * (2 * 8 * 8 + 2 * 4 * 8),  # one head of keys and values, of size 4
        "mlp": 2 * 2 * (4 * 8 * 8),
        "value embeddings": 64 * 4,  # of the last layer, and of every other before it
        "gates": 8 + 8,
        "scalars": 2 + 2 + 1 + 1,
    }
    assert found.parameter_count == 2710


@pytest.mark.parametrize(("depth", "parameters"), [(4, 11_534_418), (6, 26_345_618)])
def test_parameters_of_a_gpt_equal_those_of_nanochat(depth: int, parameters: int) -> None:
    settings = gpt(depth=depth, vocab_size=8192)
    assert estimate(settings, 8192, H200).parameter_count == parameters


def test_parameters_of_small_models_equal_a_count_by_hand() -> None:
    assert estimated(27).parameters == {"embedding": 27**2, "head": 27**2}
    assert estimated(27, tie_lm_head=True).parameter_count == 27**2
    mini = estimated(27, model_kind="mini-gpt")
    assert mini.parameter_count == 27 * 16 + 16 * 16 + 27 * 16 + 12 * 16**2


def test_flops_of_a_small_gpt_equal_a_count_by_hand() -> None:
    multiplied = 384 + 1024 + 16 + 512  # attention, mlp, gates, head: not what is only looked up
    full = resolve(TINY_GPT | {"window_pattern": "L"})
    assert flops_per_token(full, 10) == 6 * multiplied + 12 * 8 * (16 + 16)
    windowed = resolve(TINY_GPT | {"window_pattern": "SL", "window": 5})
    assert flops_per_token(windowed, 10) == 6 * multiplied + 12 * 8 * (5 + 16)
    tied = resolve(TINY_GPT | {"tie_lm_head": True})
    assert flops_per_token(tied, 10) == flops_per_token(resolve(TINY_GPT), 10)  # the embedding is the head


@pytest.mark.parametrize(("depth", "seen"), [(4, 3 * 256 + 2048), (6, 4 * 256 + 2 * 2048)])
def test_attention_flops_of_windowed_layers_depend_on_the_window(depth: int, seen: int) -> None:
    by_default, full = (flops_per_token(gpt(depth=depth, **how), 8192) for how in ({}, {"window_pattern": "L"}))
    assert full - by_default == 12 * 64 * depth * (depth * 2048 - seen)


@pytest.mark.parametrize(
    ("depth", "vocab_size", "tokens_per_second", "utilisation"),
    [(4, 8192, 1_495_232, 0.086), (6, 8192, 1_667_052, 0.235), (12, 32768, 549_908, 0.493)],
)
def test_flops_agree_with_nanochats_reported_utilisation(
    depth: int, vocab_size: int, tokens_per_second: int, utilisation: float
) -> None:
    """Its own figures on one H200 with full attention."""
    flops = flops_per_token(gpt(depth=depth, vocab_size=vocab_size, window_pattern="L"), vocab_size)
    assert flops * tokens_per_second / 989e12 == pytest.approx(utilisation, abs=0.0006)


def test_a_bigram_has_only_the_flops_of_its_head() -> None:
    assert flops_per_token(resolve({}), 27) == 6 * 27 * 27


def test_the_whole_run_is_the_sum_of_its_steps() -> None:
    found = estimated(27, steps=7, batch_size=3, context_length=5)
    assert (found.tokens_per_step, found.tokens, found.flops) == (15, 105, 105 * found.flops_per_token)


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd"])
@pytest.mark.parametrize("kind", ["gpt", "mini-gpt", "bigram"])
def test_the_optimizer_memory_equals_that_of_the_engine(kind: str, optimizer: str) -> None:
    from engines import registry

    wide = {"width": 64, "heads": 2, "layers": 2} if kind != "bigram" else {}
    shape = {"model_kind": kind, "mode": "tensor", "context_length": 8, "batch_size": 2, "steps": 1, **wide}
    settings = resolve({**shape, "tokenizer": "char", "optimizer": optimizer, "device": "cpu"})
    kept = registry.create_learner(settings, 100).state()
    size = sum(len(array.data) for array in kept.optimizer.values())
    memory = estimate(settings, 100, PROCESSOR).memory
    assert size == pytest.approx(memory.optimizer, rel=0.02, abs=8)  # banks are padded, updates are counted
    assert memory.gradients == memory.weights == sum(len(array.data) for array in kept.model.values())


# --- estimated ------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocab_size", [64, 6400])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activation_memory_is_close_to_that_of_the_engine(dtype: str, vocab_size: int) -> None:
    import torch

    from engines import registry

    shape = {"layers": 4, "width": 128, "context_length": 128, "batch_size": 4}
    settings = gpt(tokenizer="char", device="cpu", dtype=dtype, compile="off", **shape)
    model: Any = registry.create_learner(settings, vocab_size).model
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.weights.values()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        nats = model.per_token_loss(torch.zeros(4, 129, dtype=torch.long))
    assert nats.shape == (4, 128)
    assert sum(kept.values()) / 4 == pytest.approx(activation_bytes_per_row(settings, vocab_size), rel=0.25)


@given(batch_size=st.integers(1, 300), free=st.integers(0, 1 << 31), micro=st.integers(1, 300))
def test_the_micro_batch_is_the_largest_divisor_that_fits(batch_size: int, free: int, micro: int) -> None:
    settings = resolve(TINY_GPT | {"batch_size": batch_size})
    rows = largest_micro_batch(settings, 10, free)
    row_bytes = activation_bytes_per_row(settings, 10)
    assert rows * row_bytes <= free
    if rows:
        assert batch_size % rows == 0
    if rows < micro and batch_size % micro == 0:
        assert micro * row_bytes > free


def test_the_micro_batch_is_limited_to_what_keeps_the_device_busy() -> None:
    settings = gpt(depth=4, device="cpu")
    assert choose_micro_batch(settings, 8192, 1 << 50) == 4 and choose_micro_batch(settings, 8192, 0) == 0
    on_gpu = {depth: resolve_for_machine(gpt(depth=depth, batch_size=64), H200) for depth in (4, 6, 12)}
    assert [choose_micro_batch(of, 8192, 1 << 50) for of in on_gpu.values()] == [32, 16, 64]
    assert [choose_micro_batch(of, 32_768, 1 << 50) for of in on_gpu.values()] == [32, 64, 64]  # larger gradients
    assert (
        choose_micro_batch(resolve_for_machine(resolve({"mode": "tensor", "batch_size": 4096}), H200), 27, 1 << 50)
        == 4096
    )


@pytest.mark.parametrize(
    ("depth", "vocab_size", "rows", "gib"),
    [(4, 8192, 32, 3.23), (6, 8192, 16, 3.06), (6, 32_768, 64, 17.2), (12, 32_768, 64, 42.6)],
)
def test_memory_on_hopper_is_close_to_the_measured_peaks(depth: int, vocab_size: int, rows: int, gib: float) -> None:
    """By `bench step` at 15c12d0 on an H200."""
    found = estimate(gpt(depth=depth, vocab_size=vocab_size, batch_size=rows), vocab_size, H200).memory
    assert found.with_rows(rows) / 2**30 == pytest.approx(gib, rel=0.12)
    elsewhere = estimate(gpt(depth=depth, vocab_size=vocab_size), vocab_size, Machine("NVIDIA A100", 16)).memory
    assert elsewhere.activations_per_row > 1.1 * found.activations_per_row


def test_divisors_are_sorted_from_the_largest() -> None:
    assert divisors(12) == [12, 6, 4, 3, 2, 1]


def test_longer_rows_larger_vocabularies_and_eager_code_need_more_memory() -> None:
    def saved(vocab_size: int = 64, **given: Any) -> int:
        return activation_bytes_per_row(resolve(TINY_GPT | given), vocab_size)

    assert saved(context_length=32) == pytest.approx(2 * saved(), rel=1e-3)
    assert saved(6400) > saved() and saved(layers=3) > saved() and saved(dtype="float32") > saved()
    assert saved(compile="off") > saved(compile="off", device="cpu")  # which has a chunked loss
    assert saved(compile="off") > saved() == saved(compile="on", dtype="bfloat16")
    assert saved(softcap=0.0) > saved()  # then the loss is not one kernel


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("Tesla V100-SXM2-16GB", 15.7e12),
        ("NVIDIA RTX A1000", None),
        ("", None),
    ],
)
def test_a_gpu_model_is_found_by_the_words_of_its_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_wider_models_use_more_of_a_gpu() -> None:
    speeds = []
    for width in (64, 128, 256, 320, 384, 512, 768, 2048):
        found = estimate(gpt(width=width, heads=1), 8192, H200)
        assert found.seconds
        speeds.append(round(found.flops / found.seconds / 989e12, 9))
    assert speeds == sorted(speeds) and speeds[2] == pytest.approx(0.27) and speeds[-1] == pytest.approx(0.49)


def test_an_unknown_speed_is_reported_with_the_reason() -> None:
    unknown = estimated(8192, Machine("Voodoo 2", 4), model_kind="gpt")
    assert unknown.seconds is None and "Voodoo 2" in unknown.assumption
    exact = estimated(8192, H200, model_kind="gpt", dtype="float64")
    assert exact.seconds is None and "float64" in exact.assumption
    assert estimated(8192, model_kind="gpt", device="mps").seconds is None


def test_small_models_on_a_gpu_are_limited_by_kernel_launches() -> None:
    found = estimated(27, H200, mode="tensor", model_kind="mini-gpt")
    assert found.seconds and found.seconds > 0.1 and "kernels" in found.assumption


def test_the_time_depends_on_cores_and_threads() -> None:
    def seconds(cores: int, **given: Any) -> float:
        return estimated(8192, Machine(None, cores), model_kind="gpt", **given).seconds or 0.0

    assert seconds(4) == pytest.approx(seconds(2) / 2) and seconds(5, threads=2) == seconds(2)


def test_the_time_of_a_scalar_bigram_depends_on_distinct_tokens() -> None:
    one, more = (estimated(27, batch_size=rows).seconds for rows in (4, 400))
    assert one and one == more  # 27 distinct tokens in both
    assert "pure Python" in estimated(27).assumption


def test_the_first_budget_ends_the_run() -> None:
    assert estimated(27, steps=100, tokens=5120).steps == 10
    found = estimated(27, time_budget="5m")
    assert found.seconds == pytest.approx(300, rel=0.01) and found.steps < 1_000_000
    assert estimated(27, steps=3, time_budget="5m").steps == 3


def test_auto_is_resolved_as_in_the_engine() -> None:
    from engines.tensor.devices import resolve_device

    settings = gpt(depth=1)
    assert resolve_for_machine(settings, PROCESSOR).dtype == "float32"
    assert (
        resolve_for_machine(resolve({"mode": "tensor"}), Machine(None, 4, has_bfloat16_matmul=True)).dtype == "float32"
    )
    found, where = resolve_for_machine(settings, this_machine()), resolve_device(gpt(depth=1, device="cpu"))
    assert (found.device, found.dtype, found.compile) == ("cpu", str(where.dtype).removeprefix("torch."), "off")
    assert where.is_compiled is False
    on_gpu = resolve_for_machine(settings, H200)
    assert (on_gpu.device, on_gpu.dtype, on_gpu.compile) == ("cuda", "bfloat16", "regions")
    assert resolve_for_machine(gpt(depth=12), H200).compile == "on"  # it trains for long
    assert resolve_for_machine(settings, Machine("Tesla V100-SXM2-16GB", 4)).dtype == "float32"
    by_hand = gpt(depth=1, dtype="float64", compile="off", device="cpu")
    assert resolve_for_machine(by_hand, H200) == by_hand


@pytest.mark.parametrize("corpus", ["names", "stories"])
def test_the_alphabets_of_built_in_texts_are_known(corpus: str) -> None:
    from engines.data.corpora import open_corpus, scan_corpus

    text = open_corpus(corpus, "file", "classic", 100_000, 0)
    alphabet = scan_corpus(text, lambda done: None).alphabet
    assert expected_vocab_size(resolve({"data": corpus})) == (len(alphabet) + 1, "")


def test_the_vocabulary_of_other_texts_is_marked_as_assumed() -> None:
    size, word = expected_vocab_size(resolve({"data": "book.txt"}))
    assert size == 256 and "assumed" in word
    assert expected_vocab_size(resolve({"style": "futuristic"}))[1]
    assert expected_vocab_size(resolve({"tokenizer": "bpe", "vocab_size": 500})) == (500, "")


def test_the_vocabulary_of_bytes_is_known() -> None:
    from engines.data.tokenizers import ByteTokenizer

    assert expected_vocab_size(resolve({"tokenizer": "byte"})) == (ByteTokenizer().vocab_size, "")


def test_estimating_imports_no_heavy_packages() -> None:
    code = "import sys, engines.cost.plan; print({'torch', 'numpy', 'rich', 'subprocess'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
