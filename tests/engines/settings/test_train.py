"""Training settings: one parser for flags, files and manifests; all problems reported; every `auto` resolved."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import SettingsError
from engines.settings.fields import AUTO, Field, fields, parse_settings
from engines.settings.files import read_config_file
from engines.settings.resolve import resolve
from engines.settings.sample import SampleSettings
from engines.settings.train import TrainSettings

ALL = [*fields(TrainSettings).values(), *fields(SampleSettings).values()]


@pytest.mark.parametrize("field", ALL, ids=lambda field: field.name)
def test_every_default_is_valid(field: Field) -> None:
    assert field.parse(field.default) == field.default
    if field.default is not None:
        assert field.parse(str(field.default)) == field.default


@settings(max_examples=300)
@given(raw=st.text(max_size=8) | st.floats() | st.integers() | st.booleans() | st.none() | st.lists(st.integers()))
def test_a_value_is_parsed_or_refused_with_a_sentence(raw: object) -> None:
    for field in ALL:
        try:
            value = field.parse(raw)
        except ValueError as error:
            assert str(error).startswith("must be "), field.name
        else:
            assert value is None or value == field.parse(value), field.name


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("size", "10M", 10_000_000), ("size", "1.5k", 1500), ("size", "7", 7), ("size", "2GB", 2_000_000_000),
        ("duration", "90", 90.0), ("duration", "5m", 300.0), ("duration", "1h30m", 5400.0), ("duration", "2s", 2.0),
        ("int", "1e6", 1_000_000), ("int", "1_000", 1000), ("bool", "yes", True), ("bool", "OFF", False),
    ],
)  # fmt: skip
def test_numbers_are_parsed_in_every_notation(kind: str, text: str, value: object) -> None:
    assert Field("x", "g", kind, 0, "").parse(text) == value


@pytest.mark.parametrize(
    ("kind", "raw"),
    [("int", "1.5"), ("int", True), ("int", 3.0), ("float", "nan"), ("float", "inf"), ("float", True), ("bool", "x"),
     ("size", "ten"), ("duration", "5 parsecs"), ("duration", "5m3"), ("str", 5)],
)  # fmt: skip
def test_invalid_values_are_refused(kind: str, raw: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        Field("x", "g", kind, 0, "").parse(raw)


def test_bounds_hold() -> None:
    field = Field("x", "g", "float", 0.5, "", at_least=0, at_most=1)
    assert field.parse("0") == 0 and field.parse("1") == 1
    for raw in ("-0.1", "1.1"):
        with pytest.raises(ValueError, match="at"):
            field.parse(raw)
    with pytest.raises(ValueError, match="greater than 0"):
        Field("x", "g", "float", 0.5, "", above=0).parse("0")


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(SettingsError) as error:
        parse_settings(TrainSettings, {"lr": "x", "steps": -1, "mode": "quantum", "wat": 1})
    assert len(error.value.problems) == 4


def test_resolving_leaves_auto_only_for_the_workers_decisions() -> None:
    for kind in ("bigram", "mini-gpt", "gpt"):
        resolved = dataclasses.asdict(resolve({"model_kind": kind}))
        left = {name for name, value in resolved.items() if value == AUTO}
        assert left == {"device", "dtype", "compile"}


def test_given_machine_settings_are_kept() -> None:
    given = {"device": "cpu", "dtype": "float64", "compile": "off", "threads": 3, "micro_batch": 2}
    settings = resolve({"model_kind": "gpt", **given})
    assert {name: getattr(settings, name) for name in given} == given


def test_each_model_kind_has_its_engine_text_and_optimizer() -> None:
    def suits(**given: object) -> tuple[str, str, str, str]:
        settings = resolve(given)
        return settings.mode, settings.data, settings.tokenizer, settings.optimizer

    assert suits() == suits(model_kind="mini-gpt") == ("scalar", "names", "char", "adamw")
    assert suits(model_kind="gpt") == ("tensor", "stories", "bpe", "muon")
    assert suits(mode="tensor", data="pydoc") == ("tensor", "pydoc", "char", "adamw")


def test_settings_that_a_model_lacks_are_off() -> None:
    settings = resolve({"model_kind": "mini-gpt"})
    assert (settings.depth, settings.kv_heads, settings.embedding_lr, settings.window_pattern) == (0, 0, 0.0, "")
    assert not (settings.rotary or settings.smear or settings.polar_express)
    assert resolve({"model_kind": "gpt", "optimizer": "adamw"}).momentum_schedule is False
    assert resolve({"model_kind": "gpt"}).momentum_schedule is True


@pytest.mark.parametrize(("context_length", "window"), [(2048, 256), (100, 12), (12, 2)])
def test_the_window_of_a_gpt_is_an_eighth_of_its_context(context_length: int, window: int) -> None:
    settings = resolve({"model_kind": "gpt", "context_length": context_length})
    assert (settings.window_pattern, settings.window) == ("SSSL", window)


def test_a_bpe_vocabulary_is_small_unless_a_gpt_is_trained() -> None:
    assert resolve({}).vocab_size == 0
    assert resolve({"tokenizer": "bpe"}).vocab_size == 1024
    assert resolve({"tokenizer": "bpe", "vocab_size": 400}).vocab_size == 400


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({}, 500),
        ({"tokens": 10_240}, 20),
        ({"tokens": 10_241}, 21),
        ({"time_budget": "5m"}, 1_000_000),
        ({"steps": 7}, 7),
    ],
)
def test_steps_follow_from_the_budget(given: dict[str, object], steps: int) -> None:
    assert resolve(given).steps == steps


def test_derived_values_follow_a_given_value() -> None:
    assert resolve({"steps": 100}).eval_every == 10 and resolve({"steps": 100, "eval_every": 7}).sample_every == 7
    assert resolve({"optimizer": "sgd"}).lr > resolve({}).lr


GPT = {"model_kind": "gpt"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"warmup_fraction": 0.7, "warmdown_fraction": 0.7}, "--warmup-fraction and --warmdown-fraction together"),
        ({"layers": 2}, "--layers cannot be used with --model-kind bigram"),
        ({"model_kind": "mini-gpt", "width": 18}, "--width 18 must be a multiple of --heads 4"),
        ({"depth": 4}, "--depth cannot be used with --model-kind bigram; it needs --model-kind gpt"),
        ({"model_kind": "mini-gpt", "depth": 4}, "--depth cannot be used with --model-kind mini-gpt"),
        ({"model_kind": "mini-gpt", "rotary": True}, "--rotary cannot be used with --model-kind mini-gpt"),
        ({"head_lr": 0.1}, "--head-lr cannot be used with --model-kind bigram"),
        (
            {"renormalization": True},
            "--renormalization cannot be used with --optimizer adamw; it needs --optimizer muon",
        ),
        ({**GPT, "optimizer": "sgd", "cautious_decay": True}, "--cautious-decay cannot be used with --optimizer sgd"),
        ({"optimizer": "muon"}, "--optimizer muon cannot be used with --mode scalar; it needs --mode tensor"),
        ({**GPT, "mode": "scalar"}, "--mode scalar cannot be used with --model-kind gpt; it needs --mode tensor"),
        ({"device": "cpu"}, "--device cannot be used with --mode scalar"),
        ({"micro_batch": 2}, "--micro-batch cannot be used with --mode scalar"),
        ({"vocab_size": 300}, "--vocab-size cannot be used with --tokenizer char"),
        ({**GPT, "tokenizer": "byte", "vocab_size": 300}, "--vocab-size cannot be used with --tokenizer byte"),
        ({**GPT, "heads": 3}, "--width 256 must be a multiple of --heads 3"),
        ({**GPT, "heads": 4, "kv_heads": 3}, "--kv-heads 3 must divide --heads 4"),
        ({**GPT, "width": 6, "heads": 2}, "--rotary needs an even head size"),
        ({**GPT, "window_pattern": "SLX"}, "--window-pattern must consist of L and S"),
        ({**GPT, "window_pattern": ""}, "--window-pattern must consist of L and S"),
        ({**GPT, "micro_batch": 3}, "--micro-batch 3 must divide --batch-size 32"),
    ],
)
def test_a_contradiction_is_refused_with_a_sentence(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        resolve(given)
    assert len(error.value.problems) == 1 and sentence in error.value.problems[0]


def test_contradictions_are_reported_together() -> None:
    with pytest.raises(SettingsError) as error:
        resolve({"depth": 4, "kv_heads": 2, "device": "cpu", "polar_express": True, "vocab_size": 300})
    assert len(error.value.problems) == 5
    with pytest.raises(SettingsError) as error:
        resolve({**GPT, "heads": 3, "kv_heads": 2, "window_pattern": "x"})
    assert len(error.value.problems) == 3


def test_odd_head_sizes_are_valid_without_rotary_embeddings() -> None:
    assert resolve({**GPT, "width": 6, "heads": 2, "rotary": False}).rotary is False


def test_a_config_file_is_toml_or_the_manifest_of_a_run(tmp_path: Path) -> None:
    toml, manifest = tmp_path / "a.toml", tmp_path / "config.json"
    toml.write_text('batch-size = 3\ntime_budget = "5m"\ntie-lm-head = true\n')
    assert read_config_file(toml).settings == {"batch_size": 3, "time_budget": 300.0, "tie_lm_head": True}
    manifest.write_text('{"given": {"lr": 0.5}, "resolved": {"lr": 0.5, "steps": 500}}')
    assert read_config_file(manifest).settings == {"lr": 0.5}


@pytest.mark.parametrize("content", ["steps =", "[1, 2", 'steps = "many"', "unknown = 1"])
def test_an_invalid_config_file_is_an_error_with_its_name(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"bad\.toml"):
        read_config_file(path)
