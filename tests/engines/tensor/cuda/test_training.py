"""Training on a CUDA GPU: the losses equal those of a CPU and of other forms of the same computation, to rounding."""

import os
import sys
from pathlib import Path

import pytest
import torch
from builders import events_of, finished_run
from cuda_tensors import CUDA, cuda_gpt_settings, needs_cuda, train_from_start, train_steps
from tensors import TINY_GPT, build_tensor_learner, random_batch, random_batches

from engines.errors import UserError
from engines.settings.resolve import resolve

pytestmark = needs_cuda

SMALL_MODEL = {"model_kind": "mini-gpt", "tokenizer": "char", "batch_size": 4, "steps": 40}
# Steps of the tiny gpt whose bfloat16 losses rounding hardly changes. Later losses differ by up to 0.08 nats if weights
# differ by one part in a million, on a CPU as well, and other processes on a GPU change the order of its sums.
STABLE_BFLOAT16_STEPS = 12
ONE_SECOND = 2_000_000_000  # in GPU clock cycles, roughly


def test_losses_on_cuda_equal_those_on_a_cpu() -> None:
    expected = train_from_start(cuda_gpt_settings(device="cpu"), 20)
    assert train_from_start(cuda_gpt_settings(), 20) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("compile", ["on", "regions"])
def test_compiled_training_has_the_losses_of_eager_training(compile: str) -> None:
    expected = train_from_start(cuda_gpt_settings(), 20)
    assert train_from_start(cuda_gpt_settings(compile=compile), 20) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("kind", ["bigram", "mini-gpt"])
@pytest.mark.parametrize("compile", ["off", "on"])
def test_captured_steps_have_the_losses_of_a_cpu(kind: str, compile: str) -> None:
    settings = {**SMALL_MODEL, "model_kind": kind, **CUDA}
    expected = train_from_start(resolve({**settings, "device": "cpu"}), 40)
    assert train_from_start(resolve({**settings, "compile": compile}), 40) == pytest.approx(expected, abs=1e-4)


def test_training_with_the_fused_loss_has_the_losses_of_training_with_the_plain_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = cuda_gpt_settings(compile="on", dtype="bfloat16")
    fused = train_from_start(settings, STABLE_BFLOAT16_STEPS)
    torch._dynamo.reset()
    monkeypatch.setattr("engines.tensor.fast.apply.MAX_FUSED_SOFTCAP", 0.0)
    assert train_from_start(settings, STABLE_BFLOAT16_STEPS) == pytest.approx(fused, abs=2e-3)


def test_steps_queued_on_a_busy_gpu_have_the_same_losses() -> None:
    settings = cuda_gpt_settings(compile="on")
    learner, batches = build_tensor_learner(settings), random_batches(settings)
    learner.warm_up(batches.batch(0))
    initial = learner.state()
    learner.load_state(initial)
    expected = train_steps(learner, batches, settings, range(20), waits_for_each=True)
    for _ in range(5):
        learner.load_state(initial)
        torch.cuda._sleep(ONE_SECOND)  # in which the host submits as many steps as it may
        assert train_steps(learner, batches, settings, range(20)) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("compile", ["off", "on", "regions"])
def test_a_resumed_learner_has_the_losses_of_one_that_was_not_interrupted(compile: str) -> None:
    settings = cuda_gpt_settings(compile=compile)
    uninterrupted, resumed, batches = *(build_tensor_learner(settings) for _ in range(2)), random_batches(settings)
    uninterrupted.warm_up(batches.batch(0))
    train_steps(uninterrupted, batches, settings, range(8))
    resumed.load_state(uninterrupted.state())
    resumed.warm_up(batches.batch(0))
    expected = train_steps(uninterrupted, batches, settings, range(8, 16))
    assert train_steps(resumed, batches, settings, range(8, 16)) == pytest.approx(expected, abs=2e-3)


def test_a_micro_batch_that_does_not_fit_is_an_error_that_names_a_smaller_one() -> None:
    huge = cuda_gpt_settings(
        batch_size=1 << 14, micro_batch=1 << 14, context_length=2048, vocab_size=32768, tokenizer="bpe"
    )
    learner = build_tensor_learner(huge, vocab_size=32768)
    with pytest.raises(UserError, match=r"--micro-batch 16384 does not fit in the GPU's memory. Try 8192"):
        learner.warm_up(random_batch(huge))


def test_a_run_records_the_name_of_its_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # for packages that are not installed
    run = finished_run(tmp_path, **{**TINY_GPT, "mode": "tensor", "device": "cuda", "steps": 12, "eval_every": 6})
    (ended,) = events_of(run, "ended")
    assert ended["reason"] == "finished", ended
    (engine,) = events_of(run, "engine")
    assert engine["gpu"] == torch.cuda.get_device_name()
