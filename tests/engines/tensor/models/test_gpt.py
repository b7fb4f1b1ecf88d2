"""The GPT: its parameters, its logits against plain formulas, and the positions that they depend on."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tensors import SWITCHES, V, build_random_gpt, gpt_settings, random_rows
from torch import Tensor

from engines.cost.parameter_shapes import parameter_shapes, window_of
from engines.data.tokenizers import BOS
from engines.settings.train import TrainSettings
from engines.tensor.devices import resolve_device
from engines.tensor.models.attention_context import FullSequence
from engines.tensor.models.gpt import GPT, initial_weights
from engines.tensor.models.layers import linear

every_switch = pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "-".join(switches) or "defaults")


def tokens_of(rows: int = 2, length: int = 12, seed: int = 1) -> Tensor:
    return torch.tensor(random_rows(rows, length, seed=seed))


def rebuild_with(model: GPT, **given: Any) -> GPT:
    """Return a model with the same parameters and other settings."""
    settings = gpt_settings(**given)
    return build_gpt(settings, model.weights)


def max_logit_change(one: Tensor, other: Tensor) -> Tensor:
    """Return the largest change of a logit at each position."""
    return (one - other).abs().amax(-1)


# --- parameters -----------------------------------------------------------------------------------


@every_switch
def test_parameters_have_the_shapes_of_parameter_shapes(switches: dict[str, Any]) -> None:
    settings = gpt_settings(**switches)
    assert {name: tuple(part.shape) for name, part in initial_weights(settings, V).items()} == parameter_shapes(
        settings, V
    )


@pytest.mark.parametrize(
    ("switch", "missing"),
    [
        ("value_embeddings", {"0.value_embedding", "0.value_gate", "2.value_embedding", "2.value_gate"}),
        ("residual_scalars", {"residual_scalars"}),
        ("embedding_scalars", {"embedding_scalars"}),
        ("smear", {"smear_gate", "smear_scalar"}),
        ("backout", {"backout_scalar"}),
    ],
)
def test_a_part_that_is_switched_off_has_no_parameters(switch: str, missing: set[str]) -> None:
    default, without = (set(initial_weights(gpt_settings(**how), V)) for how in ({}, {switch: False}))
    assert default - without == missing and without < default


@pytest.mark.parametrize("layers", range(1, 6))
def test_every_second_layer_has_a_value_embedding_counted_from_the_last(layers: int) -> None:
    names = initial_weights(gpt_settings(layers=layers), V)
    assert [layer for layer in range(layers) if f"{layer}.value_embedding" in names] == [*range(layers)][::-1][::2][
        ::-1
    ]


def test_a_tied_head_shares_the_weights_of_the_embedding() -> None:
    tied = build_random_gpt(gpt_settings(tie_lm_head=True))
    assert "head" not in tied.weights
    untied = build_gpt(gpt_settings(), {**tied.weights, "head": tied.weights["wte"].clone()})
    assert torch.equal(tied.forward(tokens_of()), untied.forward(tokens_of()))


def build_gpt(settings: TrainSettings, weights: Mapping[str, Tensor]) -> GPT:
    return GPT(settings, V, weights, resolve_device(settings))


def test_initial_weights_depend_only_on_the_seed() -> None:
    one, same, other = (
        initial_weights(gpt_settings(**how), V) for how in ({}, {"dtype": "float32", "threads": 2}, {"seed": 5})
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["wte"], other["wte"]) and one["wte"].std() == pytest.approx(0.8, rel=0.1)


@every_switch
def test_the_initial_loss_is_that_of_a_uniform_distribution(switches: dict[str, Any]) -> None:
    settings = gpt_settings(**switches)
    model = build_gpt(settings, {name: part.double() for name, part in initial_weights(settings, V).items()})
    rows = tokens_of(8, 13)
    small = 0.05 if settings.tie_lm_head else 0.005  # a tied head is twenty times larger
    assert float(model.per_token_loss(rows).mean()) == pytest.approx(math.log(V), abs=small)


def test_blocks_initially_contribute_nothing() -> None:
    model = build_gpt(
        gpt_settings(), {name: part.double() for name, part in initial_weights(gpt_settings(), V).items()}
    )
    zeroed = {name: torch.zeros_like(part) if name[0].isdigit() else part for name, part in model.weights.items()}
    assert torch.equal(model.forward(tokens_of()), build_gpt(gpt_settings(), zeroed).forward(tokens_of()))


# --- logits ---------------------------------------------------------------------------------------


@every_switch
def test_logits_equal_those_of_plain_formulas(switches: dict[str, Any]) -> None:
    settings = gpt_settings(**switches)
    model, (row,) = build_random_gpt(settings), random_rows(1, 12, vocab_size=6)  # so that some are BOS
    assert BOS in row[1:]
    expected = plain_logits(settings, model.weights, row)
    torch.testing.assert_close(model.forward(torch.tensor([row]))[0], expected, rtol=1e-9, atol=1e-9)


def plain_logits(how: TrainSettings, p: dict[str, Tensor], row: list[int]) -> Tensor:
    """Return logits (T, V), computed one position, head and layer at a time."""
    size, group = how.width // how.heads, how.heads // how.kv_heads
    documents = [sum(token == BOS for token in row[: t + 1]) for t in range(len(row))]
    activation = {"relu2": lambda h: h.clamp(min=0) ** 2, "relu": lambda h: h.clamp(min=0), "gelu": F.gelu}[
        how.activation
    ]

    def in_one_document(t: int, s: int) -> bool:
        return documents[t] == documents[s] or not how.document_mask

    x = [norm(p["wte"][token]) if how.input_rmsnorm else p["wte"][token] for token in row]
    if how.smear:
        gates = [p["smear_scalar"] * torch.sigmoid(p["smear_gate"][0] @ h[:24]) for h in x]
        x = [h + gates[t] * x[t - 1] if t and in_one_document(t, t - 1) else h for t, h in enumerate(x)]
    embedded = middle = x
    for layer in range(how.layers):
        if how.residual_scalars:
            x = [p["residual_scalars"][layer] * h for h in x]
        if how.embedding_scalars:
            x = [h + p["embedding_scalars"][layer] * e for h, e in zip(x, embedded, strict=True)]
        q, k, v = ([(p[f"{layer}.{name}"] @ norm(h)).view(-1, size) for h in x] for name in ("q", "k", "v"))
        if f"{layer}.value_embedding" in p:
            gates = [3 * torch.sigmoid(p[f"{layer}.value_gate"] @ norm(h)[:12]) for h in x]
            own = [p[f"{layer}.value_embedding"][token].view(-1, size) for token in row]
            v = [a + gate[:, None] * b for a, gate, b in zip(v, gates, own, strict=True)]
        if how.rotary:
            q, k = ([rotate_pairs(h, t, how.rotary_base) for t, h in enumerate(part)] for part in (q, k))
        if how.qk_norm:
            q, k = ([how.qk_scale * norm(h) for h in part] for part in (q, k))
        window = window_of(how, layer) or len(row)
        mixed = []
        for t in range(len(row)):
            seen = [s for s in range(t + 1) if t - s < window and in_one_document(t, s)]
            for head in range(how.heads):
                scores = torch.stack([q[t][head] @ k[s][head // group] for s in seen]) / math.sqrt(size)
                mixed.append(scores.softmax(0) @ torch.stack([v[s][head // group] for s in seen]))
        x = [h + p[f"{layer}.o"] @ m for h, m in zip(x, torch.stack(mixed).view(len(row), -1), strict=True)]
        x = [h + p[f"{layer}.proj"] @ activation(p[f"{layer}.fc"] @ norm(h)) for h in x]
        if layer == how.layers // 2:
            middle = x
    if how.backout:
        x = [h - p["backout_scalar"] * m for h, m in zip(x, middle, strict=True)]
    if how.final_rmsnorm:
        x = [norm(h) for h in x]
    logits = torch.stack([p["wte" if how.tie_lm_head else "head"] @ h for h in x])[:, :V]
    return how.softcap * torch.tanh(logits / how.softcap) if how.softcap else logits


def norm(h: Tensor) -> Tensor:
    return h / (h.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def rotate_pairs(h: Tensor, position: int, base: float) -> Tensor:
    """Multiply pairs (i, i + D / 2), as complex numbers, by exp(-i * angle)."""
    half = h.shape[-1] // 2
    angles = position / base ** (torch.arange(half, dtype=torch.float64) / half)
    found = torch.complex(h[:, :half], h[:, half:]) * torch.polar(torch.ones_like(angles), -angles)
    return torch.cat((found.real, found.imag), dim=-1)


@pytest.mark.parametrize("vocab_size", [1, 50, 64, 65])
def test_padding_of_the_vocabulary_has_no_logits(vocab_size: int) -> None:
    model = build_random_gpt(gpt_settings(), vocab_size)
    assert model.forward(torch.zeros(3, 7, dtype=torch.long)).shape == (3, 7, vocab_size)
    assert len(model.weights["wte"]) % 64 == 0 and model.per_token_loss(torch.zeros(3, 8, dtype=torch.long)).shape == (
        3,
        7,
    )


@pytest.mark.parametrize(
    "switch",
    [
        {"rotary": False}, {"rotary_base": 10.0}, {"qk_norm": False}, {"qk_scale": 1.0}, {"activation": "relu"},
        {"activation": "gelu"}, {"softcap": 0.0}, {"softcap": 3.0}, {"document_mask": True}, {"input_rmsnorm": False},
        {"final_rmsnorm": False}, {"window_pattern": "S", "window": 4}, {"value_embeddings": False},
        {"residual_scalars": False}, {"embedding_scalars": False}, {"smear": False}, {"backout": False},
    ],
    ids=str,
)  # fmt: skip
def test_every_switch_changes_the_logits_of_the_same_parameters(switch: dict[str, Any]) -> None:
    default = build_random_gpt(gpt_settings())
    remaining = {
        name: part for name, part in default.weights.items() if name in parameter_shapes(gpt_settings(**switch), V)
    }
    tokens = torch.tensor([[0, 4, 7, 0, 9, 3, 8, 2]])
    assert (
        max_logit_change(default.forward(tokens), build_gpt(gpt_settings(**switch), remaining).forward(tokens)).max()
        > 1e-3
    )


def test_softcap_bounds_the_logits() -> None:
    model = build_random_gpt(gpt_settings(softcap=0.0))
    free = model.forward(tokens_of())
    capped = rebuild_with(model, softcap=0.5).forward(tokens_of())
    assert free.abs().max() > 1.0 and capped.abs().max() < 0.5
    assert torch.equal(free.argsort(-1), capped.argsort(-1))


def test_grouped_query_attention_equals_repeated_key_and_value_heads() -> None:
    few = build_random_gpt(gpt_settings(kv_heads=2))
    parameters = dict(few.weights)
    for name, part in parameters.items():
        role = name.partition(".")[2]
        if role in ("k", "v"):
            parameters[name] = part.unflatten(0, (2, -1)).repeat_interleave(2, 0).flatten(0, 1)
        if role == "value_embedding":
            parameters[name] = part.unflatten(1, (2, -1)).repeat_interleave(2, 1).flatten(1, 2)
        if role == "value_gate":
            parameters[name] = part.repeat_interleave(2, 0)
    many = build_gpt(gpt_settings(), parameters)
    torch.testing.assert_close(few.forward(tokens_of()), many.forward(tokens_of()), rtol=0, atol=1e-12)


def test_bfloat16_logits_are_float32_and_close_to_float64() -> None:
    exact = build_random_gpt(gpt_settings(softcap=0.0))
    settings = gpt_settings(softcap=0.0, dtype="bfloat16")
    coarse = build_gpt(settings, {name: part.float() for name, part in exact.weights.items()})
    found, expected = coarse.forward(tokens_of()), exact.forward(tokens_of())
    assert found.dtype == torch.float32 and 1e-4 < (found - expected).abs().mean() < 0.05 * expected.std()


# --- positions that a logit depends on ------------------------------------------------------------


@every_switch
def test_a_later_token_changes_no_earlier_logit(switches: dict[str, Any]) -> None:
    model = build_random_gpt(gpt_settings(**switches))
    row = tokens_of(1)
    changed = row.repeat(12, 1)
    changed.diagonal().copy_((row[0] + 1 + torch.arange(12)) % V)  # another token in each row
    by = max_logit_change(model.forward(changed), model.forward(row))  # (row, position)
    assert by.tril(-1).max() < 1e-12 and by.diagonal().min() > 1e-6


@pytest.mark.parametrize("smear", [False, True])
def test_tokens_outside_of_all_windows_change_no_logit(smear: bool) -> None:
    settings = gpt_settings(smear=smear, window_pattern="S", window=3, layers=2)
    model = build_random_gpt(settings)
    for block in model.layers:
        block.attention.window = 3  # the last layer has no window otherwise
    reach = 2 * (3 - 1) + smear
    row = tokens_of(1)
    for distance in range(12):
        changed = row.clone()
        changed[0, 11 - distance] += 1
        by = max_logit_change(model.forward(changed % V), model.forward(row))[0, 11]
        assert by > 1e-9 if distance <= reach else by < 1e-12


def test_the_last_layer_attends_beyond_the_windows_of_other_layers() -> None:
    model = build_random_gpt(gpt_settings(window_pattern="S", window=2, smear=False))
    assert [block.attention.window for block in model.layers] == [2, 2, 0]
    changed = tokens_of(1)
    changed[0, 0] = (changed[0, 0] + 1) % V
    assert max_logit_change(model.forward(changed), model.forward(tokens_of(1)))[0, 11] > 1e-6


@pytest.mark.parametrize("how", [{}, {"window_pattern": "S", "window": 4}, {"kv_heads": 1, "smear": False}], ids=str)
def test_with_a_document_mask_logits_are_independent_of_earlier_documents(how: dict[str, Any]) -> None:
    model = build_random_gpt(gpt_settings(document_mask=True, **how))
    document = [BOS, 5, 8, 5, 2, 9]
    single = model.forward(torch.tensor([document]))[0]
    for before in ([3, 4], [BOS, 7], [BOS, BOS], [BOS, 1, 2, BOS, 3]):
        behind = model.forward(torch.tensor([[*before, *document]]))[0, len(before) :]
        torch.testing.assert_close(behind, single, rtol=0, atol=1e-9)


def test_without_a_document_mask_logits_depend_on_earlier_documents() -> None:
    model = build_random_gpt(gpt_settings())
    one, other = (model.forward(torch.tensor([[BOS, before, BOS, 5, 8]]))[0, 2:] for before in (3, 4))
    assert max_logit_change(one, other).min() > 1e-6


class ShiftedSequence(FullSequence):
    """Rows whose positions start at 4."""

    def at_positions(self, table: Tensor) -> Tensor:
        return table[4 : 4 + self._length]


@pytest.mark.parametrize("how", [{}, {"window_pattern": "SL", "window": 3}, {"qk_norm": False}], ids=str)
def test_logits_depend_only_on_relative_positions(how: dict[str, Any]) -> None:
    settings = gpt_settings(rotary_base=30.0, **how)
    model, tokens = build_random_gpt(settings), tokens_of(2, 8)
    later = model.project_to_logits(model.hidden_states(tokens, ShiftedSequence(settings, tokens)))
    torch.testing.assert_close(later, model.forward(tokens), rtol=0, atol=1e-9)


@pytest.mark.parametrize("rotary", [True, False])
def test_one_layer_depends_on_token_order_only_through_rotary_embeddings(rotary: bool) -> None:
    model = build_random_gpt(gpt_settings(layers=1, smear=False, rotary=rotary))
    one, other = (model.forward(torch.tensor([row]))[0, -1:] for row in ([1, 2, 3, 4, 5], [3, 1, 4, 2, 5]))
    assert max_logit_change(one, other) > 1e-6 if rotary else max_logit_change(one, other) < 1e-12


def test_the_linear_layer_of_a_single_row_is_the_same_when_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(1, 1, 5, dtype=torch.float32), torch.randn(3, 5)
    plain = linear(x, weight)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(linear(x, weight), plain)
    assert linear(x.repeat(1, 2, 1), weight).shape == (1, 2, 3)
