"""What is trained for what was asked: cells, names, seeds, rungs; and every mistake told at once."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.ablation.plan import Plan, make_plan, plan_from_json, warnings_about_base
from engines.ablation.study_file import parse_axes, read_study_file
from engines.errors import SettingsError
from engines.settings.resolve import resolve

values_of = {
    "lr": st.lists(st.sampled_from([1e-4, 3e-4, 1e-3, 0.03]), min_size=1, max_size=4, unique=True),
    "input_rmsnorm": st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
    "batch_size": st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
}
some_axes = st.dictionaries(st.sampled_from(list(values_of)), st.none(), min_size=1).flatmap(
    lambda names: st.fixed_dictionaries({name: values_of[name].map(tuple) for name in names})
)


def plan(given: dict[str, Any], axes: dict[str, tuple[Any, ...]], **options: Any) -> Plan:
    return make_plan(given, axes, options)


def problems(given: dict[str, Any], axes: dict[str, tuple[Any, ...]], **options: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        make_plan(given, axes, options)
    return "\n".join(caught.value.problems)


def test_without_axes_it_is_the_ancestors_four() -> None:
    found = plan({}, {})
    assert [cell.name for cell in found.cells] == [
        "tied_no_input_rmsnorm", "tied_input_rmsnorm", "untied_no_input_rmsnorm", "untied_input_rmsnorm",
    ]  # fmt: skip
    assert found.base == "untied_no_input_rmsnorm" and found.seeds == (1337, 1338, 1339) and found.total == 12


@given(some_axes)
def test_a_grid_has_every_combination_once_and_the_base(axes: dict[str, tuple[Any, ...]]) -> None:
    try:
        found = plan({"steps": 9}, axes)
    except SettingsError:
        assert all(resolve({name: value}) == resolve({}) for name, values in axes.items() for value in values)
        return
    resolved = [resolve(found.given_of(cell, 1)) for cell in found.cells]
    assert len(set(resolved)) == len(resolved) and resolve({"steps": 9, "seed": 1}) in resolved
    without_base = [cell for cell in found.cells if cell.changes]
    assert len(without_base) == math.prod(map(len, axes.values()))
    assert len({cell.name for cell in found.cells}) == len(found.cells)


@given(some_axes)
def test_one_at_a_time_changes_one_thing(axes: dict[str, tuple[Any, ...]]) -> None:
    try:
        found = plan({}, axes, pick="one-at-a-time")
    except SettingsError:
        return
    assert found.cells[0].changes == {} and all(len(cell.changes) == 1 for cell in found.cells[1:])
    assert len(found.cells) <= 1 + sum(map(len, axes.values()))


@given(st.integers(1, 20), st.integers(0, 3))
def test_cells_by_lot_are_as_many_as_asked_and_the_same_again(number: int, seed: int) -> None:
    axes = {"lr": (1.0, 2.0, 3.0), "batch_size": (1, 2, 3, 4)}
    found = plan({"seed": seed}, axes, pick="random", cells=number)
    assert len([cell for cell in found.cells if cell.changes]) == min(number, 12)
    assert found == plan({"seed": seed}, axes, pick="random", cells=number)


def test_a_lot_is_drawn_from_a_grid_that_nobody_could_train() -> None:
    axes = {name: tuple(range(1, 1001)) for name in ("batch_size", "context_length", "steps")}
    assert len(plan({}, axes, pick="random", cells=5).cells) == 6
    assert "1,000,000,000 cells" in problems({}, axes)


def test_a_combination_that_makes_no_sense_is_dropped_with_its_reason() -> None:
    axes = {"width": (16, 18), "heads": (4, 9)}
    found = plan({"model_kind": "mini-gpt"}, axes)
    assert [cell.name for cell in found.cells] == ["width=16_heads=4", "width=18_heads=9"]
    assert [one.name for one in found.dropped] == ["width=16_heads=9", "width=18_heads=4"]
    assert "--width 18 must be a multiple of --heads 4" in found.dropped[1].reason


def test_what_amounts_to_the_same_is_trained_once() -> None:
    found = plan({}, {"lr": (0.03, 0.1), "optimizer": ("auto", "adamw")})
    assert [cell.name for cell in found.cells] == ["lr=0.03_optimizer=auto", "lr=0.1_optimizer=auto"]
    assert found.base == "lr=0.03_optimizer=auto" and found.dropped[0].reason.endswith("lr=0.1_optimizer=auto")


def test_cells_that_would_be_scored_on_another_text_than_the_base_are_dropped() -> None:
    """Bits per byte of different texts tell nothing of the models."""
    for axes in ({"data": ("stories",)}, {"eval_tokens": (10,)}, {"model_kind": ("mini-gpt",)}):
        assert "scored on another text; set --val-data" in problems({}, axes)
    assert len(plan({"val_data": "names"}, {"data": ("names", "stories")}).cells) == 2
    assert len(plan({"eval_tokens": 0}, {"model_kind": ("bigram", "mini-gpt")}).cells) == 2
    found = plan({"data": "stories"}, {"corpus_size": (10_000, 20_000), "lr": (0.1,)}, pick="one-at-a-time")
    assert [cell.name for cell in found.cells] == ["base", "lr=0.1"] and len(found.dropped) == 2


def test_every_mistake_of_a_plan_is_told_at_once(tmp_path: Path) -> None:
    told = problems(
        {"layers": 2, "time_budget": 5.0}, {"seed": (1, 2), "data": (str(tmp_path / "no.txt"),)}, cells=3, halving=True
    )
    assert all(word in told for word in ("--layers", "--seeds N", "--cells", "no.txt does not exist"))
    assert "--halving" in problems({"time_budget": 5.0}, {}, halving=True)
    assert "no axis changes anything" in problems({}, {"lr": (0.03,)})
    with pytest.raises(SettingsError) as caught:
        parse_axes(["lr", "lr=1,x", "nix=3", "steps=5", "steps=6"])
    assert len(caught.value.problems) == 4


def test_seeds_of_a_study_stay_within_the_bound_of_a_seed() -> None:
    largest = 2**63 - 1
    assert plan({"seed": largest - 2}, {"lr": (0.1,)}).seeds[-1] == largest
    assert f"give seeds above {largest:,}" in problems({"seed": largest - 1}, {"lr": (0.1,)})


def test_a_setting_of_the_base_is_reported_if_it_has_no_effect_in_any_cell() -> None:
    given = {"optimizer": "sgd", "beta1": 0.8, "corpus_size": 5_000}
    (found,) = warnings_about_base(plan(given, {"optimizer": ("sgd", "adamw")}))
    assert found == "--corpus-size 5000 has no effect: it needs --data or --val-data stories."


def test_axes_are_written_as_flags_are() -> None:
    assert parse_axes(["lr=1e-4,auto", "input-rmsnorm=yes,false", "--steps=1e3"]) == {
        "lr": (1e-4, "auto"), "input_rmsnorm": (True, False), "steps": (1000,),
    }  # fmt: skip


def test_a_toml_file_and_an_older_plan_say_the_same(tmp_path: Path) -> None:
    toml = tmp_path / "study.toml"
    toml.write_text(
        'model-kind = "bigram"\nsteps = 7\n[axes]\ninput-rmsnorm = [true, false]\nlr = 0.1\n[study]\nseeds = 2\n'
    )
    asked = read_study_file(toml)
    found = make_plan(asked.given, asked.axes, asked.options)
    assert found.given == {"model_kind": "bigram", "steps": 7} and found.options.seeds == 2
    assert plan_from_json(json.loads(json.dumps(found.to_json()))) == found
    old = tmp_path / "plan.json"
    old.write_text(json.dumps(found.to_json()))
    again = read_study_file(old)
    assert make_plan(again.given, again.axes, again.options) == found


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    toml = tmp_path / "study.toml"
    toml.write_text('steps = "many"\n[axes]\nnix = [1]\nlr = ["x"]\n[study]\nseeds = 0\nsids = 1\n')
    with pytest.raises(SettingsError) as caught:
        read_study_file(toml)
    assert len(caught.value.problems) == 5 and all(str(toml) in problem for problem in caught.value.problems)
    for content in ("axes = 3", "[", ""):
        toml.write_text(content)
        if content:
            with pytest.raises(SettingsError, match="no TOML of a study"):
                read_study_file(toml)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_study_file(tmp_path / "none.toml")


def test_paths_mean_the_same_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").write_text("other text")
    monkeypatch.chdir(tmp_path)
    found = plan({"data": "a.txt", "val_data": "b.txt"}, {"data": ("names", "a.txt")})
    assert found.given["data"] == str(tmp_path / "a.txt") and len(found.cells) == 2


@given(st.integers(1, 200))
def test_halving_ends_with_the_base_and_one_other(cells: int) -> None:
    found = plan({}, {"batch_size": tuple(range(100, 100 + cells))}, halving=True).rungs
    assert found[0] == cells + 1 and found[-1] == 2
    assert all(few == max(2, math.ceil(many / 2)) for many, few in itertools.pairwise(found))
