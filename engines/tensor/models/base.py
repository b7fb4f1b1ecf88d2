"""What all tensor models share, and the scalar engine's two on tensors (see `engines.scalar.models`)."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.generation.decoding import FullContextDecoder
from engines.interfaces import Decoder, TokenIds
from engines.tensor.devices import Place, sent
from engines.tensor.models.layers import relu2, rmsnorm

RMS_EPS = 1e-5
_TOKENS_AT_ONCE = 4096

Parameters = dict[str, Tensor]


class TensorModel:
    """All but the way from tokens to logits. Parameters may be leaves that collect gradients, or plain tensors."""

    context_length: int

    def __init__(self, parameters: Parameters, where: Place) -> None:
        self.parameters = parameters
        self.parameter_count = sum(parameter.numel() for parameter in parameters.values())
        self.device, self.dtype = where.device, where.dtype
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self._rows_at_once = 0  # that are scored together; 0: a few thousand tokens
        self._row_length = 0  # that compiled code was made for

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of what follows each of the tokens (B, T), in float32 or float64."""
        raise NotImplementedError

    def nats(self, rows: Tensor) -> Tensor:
        """The loss (B, T) of each target in rows (B, T + 1) of tokens."""
        logits = self.forward(rows[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none").view(len(rows), -1)

    def nats_in_regions(self) -> Callable[[Tensor], Tensor]:
        """`nats` as compiled code for rows of one length, in parts where it has some that are alike."""
        return torch.compile(self.nats, dynamic=False)

    def score_with(self, rows_at_once: int, row_length: int, compiled: Callable[[Tensor], Tensor] | None) -> None:
        """Score in portions that training knows to fit, and by its compiled `nats` where there is one: scoring then
        needs no compilation of its own. Its result may lie where the next call puts its own."""
        self._rows_at_once, self._row_length, self._compiled = rows_at_once, row_length, compiled

    def weight(self, name: str) -> Tensor:
        """A parameter in the precision of the computation."""
        return self.parameters[name].to(self.dtype)

    @torch.no_grad()
    def logits(self, context: TokenIds) -> list[float]:
        context = context[-self.context_length :]
        found: list[float] = self.forward(self.tensor([context], len(context)))[0, -1].tolist()
        return found

    def score(self, rows: Sequence[TokenIds]) -> "Scores":
        at_once = self._rows_at_once or max(1, _TOKENS_AT_ONCE // max(map(len, rows)))
        return Scores([self._score(rows[i : i + at_once]) for i in range(0, len(rows), at_once)])

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        return FullContextDecoder(self.logits, self.context_length, prompts)

    def tensor(self, rows: Sequence[TokenIds], length: int) -> Tensor:
        """Rows on the device, filled up with zeros to a length."""
        numbers = array("q")  # torch would take three times as long to read lists of lists
        for row in rows:
            numbers.extend(row)
            numbers.extend(repeat(0, length - len(row)))
        return sent(torch.frombuffer(numbers, dtype=torch.long).view(len(rows), length), self.device)

    @torch.no_grad()
    def _score(self, rows: Sequence[TokenIds]) -> "_Portion":
        """Shorter rows are filled up: no model lets a later token change an earlier loss."""
        lengths = [len(row) for row in rows]
        fixed = self._compiled is not None and max(lengths) <= self._row_length
        longest = self._row_length if fixed else max(lengths)
        filled: list[TokenIds] = [*rows, *[()] * (self._rows_at_once - len(rows) if fixed else 0)]
        nats = (self._compiled if self._compiled and fixed else self.nats)(self.tensor(filled, longest))
        return _Portion(nats[: len(rows)], [length - 1 for length in lengths])


class Scores:
    """The nats of rows, which may be still in the making; to be iterated once."""

    def __init__(self, portions: Sequence["_Portion"]) -> None:
        self._portions = portions

    def __iter__(self) -> Iterator[list[float]]:
        for portion in self._portions:
            yield from portion.rows()


class _Portion:
    """The nats of some rows on their way to the host."""

    def __init__(self, nats: Tensor, lengths: list[int]) -> None:
        self._lengths = lengths
        self._arrival = Arrival(nats)

    def rows(self) -> Iterator[list[float]]:
        for values, length in zip(self._arrival.numbers().tolist(), self._lengths, strict=True):
            yield values[:length]


class Arrival:
    """Numbers that a device sends to the host while both go on."""

    def __init__(self, leaving: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._numbers = leaving
        if leaving.is_cuda:
            self._numbers = torch.empty(leaving.shape, dtype=leaving.dtype, pin_memory=True)
            self._numbers.copy_(leaving, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def is_there(self) -> bool:
        return self._event is None or self._event.query()

    def numbers(self) -> Tensor:
        """Waits for them."""
        if self._event:
            self._event.synchronize()
        return self._numbers


class Bigram(TensorModel):
    """logits = rmsnorm?(E[token]) · headᵀ."""

    context_length = 1

    def __init__(self, parameters: Parameters, where: Place, input_rmsnorm: bool) -> None:
        super().__init__(parameters, where)
        self._input_rmsnorm = input_rmsnorm

    def forward(self, tokens: Tensor) -> Tensor:
        table = self.weight("embedding")
        h = F.embedding(tokens, table)  # (B, T, V)
        if self._input_rmsnorm:
            h = rmsnorm(h, RMS_EPS)
        return exact(h @ (self.weight("head") if "head" in self.parameters else table).T)


class MiniGPT(TensorModel):
    """microgpt's GPT: learned positions, pre-norm blocks, causal attention, a ReLU² MLP, no biases."""

    def __init__(
        self, parameters: Parameters, where: Place, heads: int, input_rmsnorm: bool, final_rmsnorm: bool
    ) -> None:
        super().__init__(parameters, where)
        self.context_length = len(parameters["wpe"])
        self._layers = sum(name.endswith(".wq") for name in parameters)
        self._heads = heads
        self._input_rmsnorm = input_rmsnorm
        self._final_rmsnorm = final_rmsnorm

    def forward(self, tokens: Tensor) -> Tensor:
        wte = self.weight("wte")
        x = F.embedding(tokens, wte) + self.weight("wpe")[: tokens.shape[1]]  # (B, T, C)
        if self._input_rmsnorm:
            x = rmsnorm(x, RMS_EPS)
        for layer in range(self._layers):
            x = x + self._attention(rmsnorm(x, RMS_EPS), layer) @ self.weight(f"{layer}.wo").T
            h = relu2(rmsnorm(x, RMS_EPS) @ self.weight(f"{layer}.fc1").T)  # (B, T, 4C)
            x = x + h @ self.weight(f"{layer}.fc2").T
        if self._final_rmsnorm:
            x = rmsnorm(x, RMS_EPS)
        return exact(x @ (self.weight("head") if "head" in self.parameters else wte).T)  # (B, T, V)

    def _attention(self, h: Tensor, layer: int) -> Tensor:
        q, k, v = (
            (h @ self.weight(f"{layer}.{name}").T).unflatten(2, (self._heads, -1)).transpose(1, 2)
            for name in ("wq", "wk", "wv")
        )  # (B, heads, T, C / heads)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., C) times the transposed weight (K, C). Of a single row the compiler makes one kernel with what stands
    around it; a library's matrix product would be a launch of its own that keeps few processors busy."""
    if torch.compiler.is_compiling() and x.numel() == x.shape[-1]:
        summed: Tensor = (exact(x).unsqueeze(-2) * exact(weight)).sum(-1)
        return summed.to(x.dtype)
    return x @ weight.T


def exact(logits: Tensor) -> Tensor:
    """In the precision that losses and sums are taken in: float32 at least."""
    return logits if logits.dtype == torch.float64 else logits.float()
