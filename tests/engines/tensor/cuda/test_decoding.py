"""Decoding on a CUDA GPU: captured steps, their memory, and attention to a cache."""

import itertools
from typing import Any

import pytest
import torch
from cuda_tensors import MASKS, cuda_gpt_settings, name_switches, needs_cuda
from tensors import build_random_gpt, random_rows

from engines.data.tokenizers import BOS
from engines.settings.sample import SampleSettings
from engines.tensor.inference.decode_attention import decode_attention
from engines.tensor.inference.decoder import CachedDecoder

pytestmark = needs_cuda

GREEDY = SampleSettings(top_k=1)


@pytest.mark.parametrize("compile", ["off", "on"])
@pytest.mark.parametrize("masks", MASKS, ids=name_switches)
def test_captured_decoding_generates_the_tokens_that_the_model_finds_most_likely(
    masks: dict[str, Any], compile: str
) -> None:
    torch._dynamo.reset()
    model = build_random_gpt(cuda_gpt_settings(**masks, compile=compile))
    assert model.compiles_decoding == (compile == "on")
    prompts = [[BOS], [BOS, 7, 7, 3, 21], random_rows(1, 150)[0]]
    decoder = model.decoder(prompts)
    assert isinstance(decoder, CachedDecoder)
    texts = [list(prompt) for prompt in prompts]
    stream = decoder.stream(GREEDY, itertools.repeat([0.5] * 3))
    for step in range(60):
        tokens = [sampled.id for sampled in next(stream)]
        for text, token in zip(texts, tokens, strict=True):
            if len(text) > model.context_length:
                text[:] = text[-(model.context_length // 2) :]
            logits = model.logits(text)
            assert logits[token] == pytest.approx(max(logits), abs=1e-4), f"token {step}"
            text.append(token)


def test_consecutive_generations_share_memory_and_captured_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_random_gpt(cuda_gpt_settings(dtype="bfloat16"))
    read = CachedDecoder.read
    memory: list[int] = []
    generations_with_reads: list[int] = []
    monkeypatch.setattr(
        CachedDecoder, "read", lambda self, tokens: generations_with_reads.append(len(memory)) or read(self, tokens)
    )
    for _ in range(4):
        tokens = list(model.decoder([[BOS], [BOS, 7]]).stream(GREEDY, itertools.repeat([0.5] * 2, 40)))
        assert len(tokens) == 40
        memory.append(torch.cuda.memory_allocated())
    assert memory[1:] == memory[1:2] * 3
    assert generations_with_reads == [0]  # the first token is read before a step is captured


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows, heads, key_heads, positions", [(1, 3, 3, 2048), (5, 4, 2, 100), (128, 3, 1, 300)])
def test_the_decode_attention_kernel_computes_plain_attention(
    rows: int, heads: int, key_heads: int, positions: int, dtype: torch.dtype
) -> None:
    random = torch.Generator().manual_seed(4)

    def randn(*shape: int) -> torch.Tensor:
        return (3 * torch.randn(shape, generator=random)).to("cuda", dtype)

    q = randn(rows, heads, 1, 64)
    keys, values = randn(rows, key_heads, positions, 64), randn(rows, key_heads, positions, 64)
    ends = torch.randint(1, positions + 1, (rows,), generator=random).cuda()
    starts = (ends - torch.randint(1, 80, (rows,), generator=random).cuda()).clamp_min(0)
    for first in (starts, torch.zeros_like(starts)):
        output = decode_attention(q, keys, values, first, ends)
        expected = decode_attention(*(tensor.double() for tensor in (q, keys, values)), first, ends)
        assert torch.allclose(output.double(), expected, rtol=0.02, atol=2e-3 if dtype == torch.float32 else 0.03)
