"""The base class of the tensor engine's models: weights by checkpoint name, scoring and decoding."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.generation.decoding import FullContextDecoder
from engines.interfaces import Decoder, TokenIds
from engines.tensor.async_copy import to_device
from engines.tensor.devices import DeviceConfig
from engines.tensor.scores import ChunkScores, Scores

_TOKENS_PER_CHUNK = 4096

MakeDecoder = Callable[["TensorModel", Sequence[TokenIds]], Decoder]


class TensorModel(nn.Module):
    """A language model of torch modules. Subclasses define `forward`, from tokens to logits."""

    context_length: int
    compiles_decoding = False

    def __init__(self, weights: Mapping[str, Tensor], config: DeviceConfig) -> None:
        """`weights` by checkpoint name, on the device of `config`; parameters are used as they are, not copied."""
        super().__init__()
        self.weights = {name: _as_parameter(weight) for name, weight in weights.items()}
        self.parameter_count = sum(weight.numel() for weight in self.weights.values())
        self.config = config
        self.device, self.dtype = config.device, config.dtype
        self.make_decoder: MakeDecoder = _make_full_context_decoder
        self._compiled_loss: Callable[[Tensor], Tensor] | None = None
        self._rows_per_chunk = 0  # scored together; 0: a few thousand tokens
        self._compiled_row_length = 0

    def per_token_loss(self, rows: Tensor) -> Tensor:
        """Return the loss (B, T) of predicting each next token in `rows` (B, T + 1), in nats."""
        logits = self(rows[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none").view(len(rows), -1)

    def layer_weights(self, layer: int) -> dict[str, nn.Parameter]:
        """Return the weights of a layer, by checkpoint name without the layer's number."""
        prefix = f"{layer}."
        return {name.removeprefix(prefix): w for name, w in self.weights.items() if name.startswith(prefix)}

    def score_in_chunks(
        self, rows_per_chunk: int, row_length: int, compiled_loss: Callable[[Tensor], Tensor] | None
    ) -> None:
        """Score with chunks that training has shown to fit in memory, and with its compiled loss if there is one.

        `compiled_loss` takes rows (rows_per_chunk, row_length); its result may be overwritten by its next call.
        """
        self._rows_per_chunk, self._compiled_row_length = rows_per_chunk, row_length
        self._compiled_loss = compiled_loss

    @torch.no_grad()
    def logits(self, context: TokenIds) -> list[float]:
        """Return the logits (V) of the token after `context`, of which the last `context_length` tokens count."""
        context = context[-self.context_length :]
        logits: list[float] = self(self.pad_rows([context], len(context)))[0, -1].tolist()
        return logits

    def score(self, rows: Sequence[TokenIds]) -> Scores:
        """Return the per-token losses of `rows`, which may differ in length; computed while they are iterated."""
        size = self._rows_per_chunk or max(1, _TOKENS_PER_CHUNK // max(map(len, rows)))
        return Scores([self._score_chunk(rows[i : i + size]) for i in range(0, len(rows), size)])

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        """Return a decoder that has read `prompts`."""
        return self.make_decoder(self, prompts)

    def pad_rows(self, rows: Sequence[TokenIds], length: int) -> Tensor:
        """Return rows padded with zeros to `length`, as a tensor (B, length) on the device."""
        ids = array("q")  # torch takes three times as long to read lists of lists
        for row in rows:
            ids.extend(row)
            ids.extend(repeat(0, length - len(row)))
        return to_device(torch.frombuffer(ids, dtype=torch.long).view(len(rows), length), self.device)

    @torch.no_grad()
    def _score_chunk(self, rows: Sequence[TokenIds]) -> ChunkScores:
        """Padding changes no loss: no model lets a later token change an earlier one."""
        lengths = [len(row) for row in rows]
        if self._compiled_loss and max(lengths) <= self._compiled_row_length:
            padded = [*rows, *[()] * (self._rows_per_chunk - len(rows))]
            losses = self._compiled_loss(self.pad_rows(padded, self._compiled_row_length))
        else:
            losses = self.per_token_loss(self.pad_rows(rows, max(lengths)))
        return ChunkScores(losses[: len(rows)], [length - 1 for length in lengths])


def _as_parameter(weight: Tensor) -> nn.Parameter:
    if isinstance(weight, nn.Parameter):
        return weight
    return nn.Parameter(weight, requires_grad=weight.requires_grad)


def _make_full_context_decoder(model: TensorModel, prompts: Sequence[TokenIds]) -> Decoder:
    return FullContextDecoder([model.logits] * len(prompts), model.context_length, prompts)
