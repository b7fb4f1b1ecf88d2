"""Upstream's checkpoint with the interface of the scorer. Upstream's modules must be on the path."""

import contextlib
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

_IGNORED = -1  # the target that upstream's loss ignores


class UpstreamModel:
    """A checkpoint of upstream's, with the loss of its own forward pass; implements `scorer.ScoredModel`."""

    def __init__(self, model: Any, tokenizer: Any, device: torch.device, mixed: bool) -> None:
        """`mixed` enables autocast, which older versions need."""
        self._model = model
        self._encoding = tokenizer.enc  # tiktoken's
        self._device = device
        self._mixed = mixed
        self.bos = int(tokenizer.get_bos_token_id())
        self.context_length = int(model.config.sequence_len)
        special = {tokenizer.encode_special(name) for name in tokenizer.get_special_tokens()}
        # Counted here, since the table of an older version is wrong for bytes that are not a character.
        self.token_bytes = [
            0 if token in special else len(self._encoding.decode_single_token_bytes(token))
            for token in range(self._encoding.n_vocab)
        ]

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a document, without BOS."""
        return list(self._encoding.encode_ordinary(text))

    @torch.inference_mode()
    def per_token_loss(self, rows: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        """Yield the loss of each target of each row, in nats."""
        longest = max(map(len, rows))
        filled = torch.tensor([[*row, *[self.bos] * (longest - len(row))] for row in rows], device=self._device)
        targets = filled[:, 1:].clone()
        for target, row in zip(targets, rows, strict=True):
            target[len(row) - 1 :] = _IGNORED
        with torch.autocast("cuda", torch.bfloat16) if self._mixed else contextlib.nullcontext():
            losses = self._model(filled[:, :-1].contiguous(), targets, loss_reduction="none")
        for values, row in zip(losses.view(len(rows), -1).tolist(), rows, strict=True):
            yield values[: len(row) - 1]


def open_model(checkpoint: Path, device: str) -> UpstreamModel:
    """Open a folder of NANOCHAT_BASE_DIR/base_checkpoints with upstream's own loader."""
    loader = import_module("nanochat.checkpoint_manager")
    where = torch.device(device)
    step = loader.find_last_step(str(checkpoint))
    model, tokenizer, _ = loader.build_model(str(checkpoint), step, where, "eval")
    mixed = device == "cuda" and not hasattr(import_module("nanochat.common"), "COMPUTE_DTYPE")
    return UpstreamModel(model, tokenizer, where, mixed)
