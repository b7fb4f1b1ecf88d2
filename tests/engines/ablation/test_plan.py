"""Plans: cells, names, seeds and rungs that follow from a request; all problems are reported at once."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.ablation.plan import Plan, find_unused_base_settings, make_plan, plan_from_json
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


def test_the_default_axes_are_the_predecessors_four_variants() -> None:
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
    resolved = [resolve(found.run_settings(cell, 1)) for cell in found.cells]
    assert len(set(resolved)) == len(resolved) and resolve({"steps": 9, "seed": 1}) in resolved
    without_base = [cell for cell in found.cells if cell.changes]
    assert len(without_base) == math.prod(map(len, axes.values()))
    assert len({cell.name for cell in found.cells}) == len(found.cells)


@given(some_axes)
def test_one_at_a_time_changes_one_setting_per_cell(axes: dict[str, tuple[Any, ...]]) -> None:
    try:
        found = plan({}, axes, pick="one-at-a-time")
    except SettingsError:
        return
    assert found.cells[0].changes == {} and all(len(cell.changes) == 1 for cell in found.cells[1:])
    assert len(found.cells) <= 1 + sum(map(len, axes.values()))


@given(st.integers(1, 20), st.integers(0, 3))
def test_a_random_search_has_the_requested_number_of_cells_and_is_reproducible(number: int, seed: int) -> None:
    axes = {"lr": (1.0, 2.0, 3.0), "batch_size": (1, 2, 3, 4)}
    found = plan({"seed": seed}, axes, pick="random", cells=number)
    assert len([cell for cell in found.cells if cell.changes]) == min(number, 12)
    assert found == plan({"seed": seed}, axes, pick="random", cells=number)


def test_a_random_search_works_on_a_grid_too_large_to_train() -> None:
    axes = {name: tuple(range(1, 1001)) for name in ("batch_size", "context_length", "steps")}
    assert len(plan({}, axes, pick="random", cells=5).cells) == 6
    assert "1,000,000,000 cells" in problems({}, axes)


def test_an_invalid_combination_is_dropped_with_its_reason() -> None:
    axes = {"width": (16, 18), "heads": (4, 9)}
    found = plan({"model_kind": "mini-gpt"}, axes)
    assert [cell.name for cell in found.cells] == ["width=16_heads=4", "width=18_heads=9"]
    assert [one.name for one in found.dropped] == ["width=16_heads=9", "width=18_heads=4"]
    assert "--width 18 must be a multiple of --heads 4" in found.dropped[1].reason


def test_equivalent_combinations_are_trained_once() -> None:
    found = plan({}, {"lr": (0.03, 0.1), "optimizer": ("auto", "adamw")})
    assert [cell.name for cell in found.cells] == ["lr=0.03_optimizer=auto", "lr=0.1_optimizer=auto"]
    assert found.base == "lr=0.03_optimizer=auto" and found.dropped[0].reason.endswith("lr=0.1_optimizer=auto")


def test_cells_that_would_be_evaluated_on_a_different_text_are_dropped() -> None:
    """Bits per byte of different texts cannot be compared."""
    for axes in ({"data": ("stories",)}, {"eval_tokens": (10,)}, {"model_kind": ("mini-gpt",)}):
        assert "evaluated on a different text than the base; set --val-data" in problems({}, axes)
    assert len(plan({"val_data": "names"}, {"data": ("names", "stories")}).cells) == 2
    assert len(plan({"eval_tokens": 0}, {"model_kind": ("bigram", "mini-gpt")}).cells) == 2
    found = plan({"data": "stories"}, {"corpus_size": (10_000, 20_000), "lr": (0.1,)}, pick="one-at-a-time")
    assert [cell.name for cell in found.cells] == ["base", "lr=0.1"] and len(found.dropped) == 2


def test_all_problems_of_a_plan_are_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        {"layers": 2, "time_budget": 5.0}, {"seed": (1, 2), "data": (str(tmp_path / "no.txt"),)}, cells=3, halving=True
    )
    assert all(word in found for word in ("--layers", "--seeds N", "--cells", "no.txt does not exist"))
    assert "--halving" in problems({"time_budget": 5.0}, {}, halving=True)
    assert "the axes do not change the base" in problems({}, {"lr": (0.03,)})
    with pytest.raises(SettingsError) as caught:
        parse_axes(["lr", "lr=1,x", "nix=3", "steps=5", "steps=6"])
    assert len(caught.value.problems) == 4


def test_seeds_of_a_study_stay_within_the_range_of_a_seed() -> None:
    largest = 2**63 - 1
    assert plan({"seed": largest - 2}, {"lr": (0.1,)}).seeds[-1] == largest
    assert f"exceeds the largest seed, {largest:,}" in problems({"seed": largest - 1}, {"lr": (0.1,)})


def test_a_base_setting_without_effect_in_any_cell_is_reported() -> None:
    given = {"optimizer": "sgd", "beta1": 0.8, "corpus_size": 5_000}
    (found,) = find_unused_base_settings(plan(given, {"optimizer": ("sgd", "adamw")}))
    assert found == "--corpus-size 5000 has no effect: it needs --data or --val-data stories."


def test_axes_are_parsed_like_flags() -> None:
    assert parse_axes(["lr=1e-4,auto", "input-rmsnorm=yes,false", "--steps=1e3"]) == {
        "lr": (1e-4, "auto"), "input_rmsnorm": (True, False), "steps": (1000,),
    }  # fmt: skip


def test_a_toml_file_and_an_older_plan_give_the_same_plan(tmp_path: Path) -> None:
    toml = tmp_path / "study.toml"
    toml.write_text(
        'model-kind = "bigram"\nsteps = 7\n[axes]\ninput-rmsnorm = [true, false]\nlr = 0.1\n[study]\nseeds = 2\n'
    )
    request = read_study_file(toml)
    found = make_plan(request.given, request.axes, request.options)
    assert found.given == {"model_kind": "bigram", "steps": 7} and found.options.seeds == 2
    assert plan_from_json(json.loads(json.dumps(found.to_json()))) == found
    old = tmp_path / "plan.json"
    old.write_text(json.dumps(found.to_json()))
    again = read_study_file(old)
    assert make_plan(again.given, again.axes, again.options) == found


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    toml = tmp_path / "study.toml"
    toml.write_text('steps = "many"\n[axes]\nnix = [1]\nlr = ["x"]\n[study]\nseeds = 0\nsids = 1\n')
    with pytest.raises(SettingsError) as caught:
        read_study_file(toml)
    assert len(caught.value.problems) == 5 and all(str(toml) in problem for problem in caught.value.problems)
    for content in ("axes = 3", "[", ""):
        toml.write_text(content)
        if content:
            with pytest.raises(SettingsError, match="is not a study"):
                read_study_file(toml)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_study_file(tmp_path / "none.toml")


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").write_text("other text")
    monkeypatch.chdir(tmp_path)
    found = plan({"data": "a.txt", "val_data": "b.txt"}, {"data": ("names", "a.txt")})
    assert found.given["data"] == str(tmp_path / "a.txt") and len(found.cells) == 2


@given(st.integers(1, 70))  # up to seven rungs
def test_halving_ends_with_the_base_and_one_other(cells: int) -> None:
    found = plan({}, {"batch_size": tuple(range(100, 100 + cells))}, halving=True).rungs
    assert found[0] == cells + 1 and found[-1] == 2
    assert all(few == max(2, math.ceil(many / 2)) for many, few in itertools.pairwise(found))
