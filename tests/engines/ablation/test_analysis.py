"""Analysis of results: verdicts, failed cells, targets, effects, successive halving and tables."""

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from engines.ablation.analysis import Analysis, CellReport, analyse
from engines.ablation.formatting import format_difference
from engines.ablation.markdown import render_markdown
from engines.ablation.plan import Job, Plan, make_plan
from engines.ablation.results import EvalPoint, RunResult
from engines.ablation.schedule import all_jobs, pending_jobs, rung_settings, rung_stop_step, select_cells
from engines.ablation.statistics import adjust_for_comparisons, paired_t_test
from engines.ablation.tables import analysis_to_json, build_run_row, build_summary_rows, render_csv
from engines.settings.resolve import resolve


def result(job: Job, bpb: float, outcome: str = "finished", **values: Any) -> RunResult:
    """Return the result of a run with three evaluations, 100 tokens and 1 s apart, the last with this bpb."""
    curve = tuple(EvalPoint(step, 100 * step, float(step), bpb + 2 - step) for step in range(3))
    return RunResult(
        job, f"run-{job.cell}-{job.seed}", outcome, curve=curve, steps=2, tokens=200, train_seconds=2.0, **values
    )


def results(plan: Plan, bpbs: Mapping[str, tuple[float, ...]]) -> dict[Job, RunResult]:
    """Return results for cells by name, with one bpb per seed."""
    found = {}
    for index, cell in enumerate(plan.cells):
        for seed, bpb in zip(plan.seeds, bpbs.get(cell.name, ()), strict=False):
            found[Job(index, seed)] = result(Job(index, seed), bpb)
    return found


def by_name(analysis: Analysis) -> dict[str, CellReport]:
    return {cell.name: cell for cell in analysis.cells}


RATES = {"lr": (0.1, 0.2, 0.3)}
P = 1 - math.sqrt(300 / 302)  # closed form of two degrees of freedom


def test_verdicts_match_a_hand_calculation() -> None:
    """lr=0.1 differs by -1.0, -1.1, -0.9 (t = 10√3, p = P); lr=0.2 by ±0.1; lr=0.3 by +1, +1, +1.2."""
    plan = make_plan({}, RATES, {})
    found = analyse(
        plan,
        results(
            plan,
            {"base": (4.0, 4.1, 4.2), "lr=0.1": (3.0, 3.0, 3.3), "lr=0.2": (4.1, 4.0, 4.2), "lr=0.3": (5.0, 5.1, 5.4)},
        ),
    )
    cells = by_name(found)
    assert {name: cell.verdict for name, cell in cells.items()} == {
        "base": "base", "lr=0.1": "better", "lr=0.2": "no difference shown", "lr=0.3": "worse",
    }  # fmt: skip
    better = cells["lr=0.1"].difference
    assert better and better.spread.mean == pytest.approx(-1.0) and better.p == pytest.approx(P)
    assert cells["lr=0.1"].p_corrected == pytest.approx(3 * P)
    assert found.comparisons == 3 and found.cells[0].name == "lr=0.1"


def test_unfinished_comparisons_are_counted() -> None:
    plan = make_plan({}, RATES, {})
    found = analyse(plan, results(plan, {"base": (4.0, 4.1, 4.2), "lr=0.1": (3.0, 3.0, 3.3)}))
    assert found.comparisons == 3 and by_name(found)["lr=0.1"].p_corrected == pytest.approx(3 * P)


def test_common_noise_of_a_seed_cancels_out() -> None:
    plan = make_plan({}, {"lr": (0.1,)}, {})
    found = by_name(analyse(plan, results(plan, {"base": (1.0, 5.0, 9.0), "lr=0.1": (0.9, 4.91, 8.89)})))["lr=0.1"]
    assert found.verdict == "better" and found.val_bpb and found.val_bpb.sd and found.val_bpb.sd > 3


def test_three_equal_differences_are_not_testable() -> None:
    """Student's t would divide by a standard deviation of zero and report certainty."""
    plan = make_plan({"target_bpb": 4.5}, {"lr": (0.1,)}, {})
    analysis = analyse(plan, results(plan, {"base": (4.0, 4.1, 4.2), "lr=0.1": (3.0, 3.0, 3.0)}))
    cell = by_name(analysis)["lr=0.1"]
    assert analysis.metric == "tokens_to_target"
    assert cell.verdict == "not testable" and cell.p_corrected is None
    assert cell.difference and cell.difference.spread.mean == -100 and cell.difference.low is None
    assert "every seed differs by the same amount" in render_markdown("study-1", plan, analysis, {})


def test_interval_and_verdict_agree() -> None:
    """lr=0.1 alone is significant at 5 %, but not among three comparisons."""
    plan = make_plan({}, RATES, {})
    analysis = analyse(
        plan,
        results(
            plan,
            {"base": (4.0, 4.1, 4.2), "lr=0.1": (3.0, 3.6, 3.3), "lr=0.2": (4.1, 4.0, 4.2), "lr=0.3": (4.0, 4.3, 4.1)},
        ),
    )
    cell = by_name(analysis)["lr=0.1"]
    assert cell.difference and cell.difference.p and cell.difference.p < 0.05
    assert cell.verdict == "no difference shown"
    assert cell.difference.low is not None and cell.difference.high is not None
    assert cell.difference.low < 0 < cell.difference.high
    assert f"[{cell.difference.low:+.4f}, {cell.difference.high:+.4f}]" in render_markdown(
        "study-1", plan, analysis, {}
    )


def test_two_seeds_are_too_few_for_a_verdict() -> None:
    plan = make_plan({}, {"lr": (0.1,)}, {"seeds": 2})
    found = by_name(analyse(plan, results(plan, {"base": (1.0, 2.0), "lr=0.1": (0.5, 1.5)})))["lr=0.1"]
    assert found.verdict == "too few seeds" and found.difference and found.difference.spread.mean == -0.5


def test_a_cell_has_no_verdict_before_all_its_seeds_are_done() -> None:
    """Testing after every seed, and stopping at the first good result, would find differences in noise."""
    plan = make_plan({}, {"lr": (0.1, 0.2)}, {"seeds": 4})
    found = analyse(plan, results(plan, {"base": (1.0, 2.0, 3.0, 4.0), "lr=0.1": (0.5, 1.5, 2.5)}))
    assert {by_name(found)[name].verdict for name in ("lr=0.1", "lr=0.2")} == {"not done yet"}
    assert found.comparisons == 2 and by_name(found)["lr=0.1"].difference
    found = analyse(plan, results(plan, {"base": (1.0,), "lr=0.1": (0.5, 1.5, 2.5, 3.5)}))
    assert by_name(found)["lr=0.1"].verdict == "the base has no result"


def test_a_cell_that_missed_the_target_has_that_verdict() -> None:
    plan = make_plan({"target_bpb": 4.5}, {"lr": (0.1,)}, {})
    found = by_name(analyse(plan, results(plan, {"base": (4.0, 4.1, 4.2), "lr=0.1": (3.0, 3.0, 5.0)})))["lr=0.1"]
    assert found.verdict == "target not reached"


@pytest.mark.parametrize("outcome", ["diverged", "crashed", "killed", "halted", "stopped"])
def test_a_cell_that_failed_with_one_seed_is_not_better(outcome: str) -> None:
    plan = make_plan({}, {"lr": (0.1,)}, {})
    found = results(plan, {"base": (4.0, 4.1, 4.2), "lr=0.1": (1.0, 1.0, 1.0)})
    job = Job(1, plan.seeds[2])
    found[job] = result(job, 1.0, outcome)
    analysis = analyse(plan, found)
    cell = by_name(analysis)["lr=0.1"]
    assert cell.verdict == outcome and cell.outcomes == {"finished": 2, outcome: 1} and analysis.comparisons == 0
    assert analysis.cells[-1] is cell and cell.tokens_to_target is None


def test_a_cell_evaluated_on_different_text_is_not_compared() -> None:
    plan = make_plan({}, {"lr": (0.1,)}, {})
    found = results(plan, {"base": (4.0, 4.1, 4.2), "lr=0.1": (3.0, 3.0, 3.3)})
    job = Job(1, plan.seeds[1])
    found[job] = result(job, 3.0, val_bytes=9)
    cell = by_name(analyse(plan, found))["lr=0.1"]
    assert cell.verdict == "evaluated on different text" and cell.difference is None


def test_the_default_target_is_what_the_base_reached_with_every_seed() -> None:
    plan = make_plan({}, {"lr": (0.1,)}, {})
    found = analyse(plan, results(plan, {"base": (4.0, 4.1, 4.2), "lr=0.1": (3.0, 3.0, 3.0)}))
    assert found.target_bpb == 4.2
    tokens = {name: cell.tokens_to_target for name, cell in by_name(found).items()}
    assert tokens["base"] and tokens["base"].mean == 200 and tokens["lr=0.1"] and tokens["lr=0.1"].mean == 100


def test_with_a_target_cells_are_compared_by_the_tokens_they_need() -> None:
    plan = make_plan({"target_bpb": 4.5}, {"lr": (0.1,)}, {"seeds": 5})
    found = analyse(plan, results(plan, {"base": (4.0, 4.1, 4.2, 4.3, 4.4), "lr=0.1": (3.0, 3.0, 3.0, 3.0, 4.4)}))
    cell = by_name(found)["lr=0.1"]
    assert found.metric == "tokens_to_target" and cell.verdict == "better"
    assert cell.difference and cell.difference.spread.mean == -80


def test_effects_and_interactions_match_a_hand_calculation() -> None:
    """Tying adds 1 bpb, RMSNorm removes 0.5, and both together add 0.25 more than the sum."""
    plan = make_plan({}, {}, {"seeds": 3})
    noise = (0.0, 0.1, 0.2)  # shared by all cells of a seed
    base = {"untied_no_input_rmsnorm": 3.0, "tied_no_input_rmsnorm": 4.0, "untied_input_rmsnorm": 2.5}
    cells = {**base, "tied_input_rmsnorm": 3.75}
    found = analyse(plan, results(plan, {name: tuple(bpb + one for one in noise) for name, bpb in cells.items()}))
    effects = {(effect.axes, effect.values): effect.difference.spread.mean for effect in found.effects}
    assert effects[("tie_lm_head",), (True,)] == pytest.approx((1 + 1.25) / 2)
    assert effects[("input_rmsnorm",), (True,)] == pytest.approx((-0.5 - 0.25) / 2)
    (both,) = found.interactions
    assert both.values == (True, True) and both.instead_of == (False, False)
    assert both.difference.spread.mean == pytest.approx(0.25) and both.difference.spread.n == 3


def test_an_incomplete_grid_has_no_effects() -> None:
    plan = make_plan({}, {}, {"seeds": 2})
    whole = {cell.name: (1.0, 2.0) for cell in plan.cells}
    assert analyse(plan, results(plan, whole)).effects
    assert not analyse(plan, results(plan, whole | {plan.cells[0].name: ()})).effects
    found = analyse(plan, results(plan, whole | {plan.cells[0].name: (1.0,)}))
    assert found.effects[0].difference.spread.n == 1  # the seed that every cell has


# --- halving ----------------------------------------------------------------------------------------


def test_halving_keeps_the_better_half_and_the_base() -> None:
    plan = make_plan({}, {"lr": (0.1, 0.2, 0.3, 0.4, 0.5)}, {"halving": True, "seeds": 2})
    assert plan.rungs == (6, 3, 2) and plan.total == 22
    done: dict[Job, RunResult] = {}
    order = []
    while jobs := pending_jobs(plan, done):
        order.append(len(jobs))
        for job in jobs:  # the base is the worst, and then the cells in their order
            done[job] = result(job, 1.0 + job.cell if job.cell else 9.0)
    assert order == [12, 6, 4] and len(done) == plan.total
    assert select_cells(plan, done, 2) == [0, 1] and set(done) <= set(all_jobs(plan))
    found = by_name(analyse(plan, done))
    assert (
        found["lr=0.2"].verdict == "dropped after rung 2 of 3"
        and found["lr=0.5"].verdict == "dropped after rung 1 of 3"
    )


def test_a_cell_that_failed_on_a_rung_is_not_continued() -> None:
    plan = make_plan({}, {"lr": (0.1, 0.2)}, {"halving": True, "seeds": 1})
    done = {Job(cell, 1337): result(Job(cell, 1337), 1.0, "diverged") for cell in range(3)}
    assert pending_jobs(plan, done) == []


def test_rungs_share_one_schedule_and_the_last_has_all_steps() -> None:
    plan = make_plan({"steps": 100}, {"lr": (0.1, 0.2, 0.3)}, {"halving": True})
    settings = resolve(plan.given)
    assert rung_settings(plan, settings, 0) == {} and rung_stop_step(plan, settings, 0) == 50
    assert rung_settings(plan, settings, 1) == {"steps": 100, "tokens": None}
    assert rung_stop_step(plan, settings, 1) is None
    assert rung_settings(make_plan({}, {}, {}), settings, 0) == {}


# --- tables -----------------------------------------------------------------------------------------

RUN_COLUMNS = (
    "variant tie_lm_head input_rmsnorm style parameter_count steps seed final_loss mean_loss_last_n last_n "
    "steps_per_sec tokens_per_sec vocab_size train_tokens"
).split()
SUMMARY_COLUMNS = (
    "variant tie_lm_head input_rmsnorm style params final_loss mean_loss_last_n steps_per_sec tokens_per_sec"
).split()


def test_tables_begin_with_the_predecessors_columns() -> None:
    plan = make_plan({}, RATES, {})
    found = results(plan, {"base": (1.0, 2.0, 3.0)})
    assert list(build_run_row(plan, next(iter(found.values()))))[: len(RUN_COLUMNS)] == RUN_COLUMNS
    rows = build_summary_rows(plan, analyse(plan, found))
    assert list(rows[0])[: len(SUMMARY_COLUMNS)] == SUMMARY_COLUMNS and rows[1]["lr"] == 0.1
    read = list(csv.DictReader(io.StringIO(render_csv(rows))))
    assert read[0]["val_bpb"] == "2.000000" and read[0]["tie_lm_head"] == "false" and read[1]["val_bpb"] == ""


def test_an_axis_does_not_replace_a_measured_column() -> None:
    plan = make_plan({}, {"steps": (7,), "lr": (0.1,)}, {"pick": "one-at-a-time", "seeds": 1})
    rows = [build_run_row(plan, result(Job(cell, 1337), 1.0)) for cell in range(3)]
    assert [row["steps"] for row in rows] == [2, 2, 2] and [row["lr"] for row in rows] == [0.03, 0.03, 0.1]


def test_a_nonfinite_loss_is_valid_json_with_a_flag() -> None:
    plan = make_plan({}, RATES, {"seeds": 1})
    job = Job(1, 1337)
    found = {job: result(job, 1.0, "diverged", final_loss=math.nan)}
    text = json.dumps(analysis_to_json(plan, analyse(plan, found)), allow_nan=False)
    assert json.loads(text)["cells"][1]["nonfinite"] == {"final_loss": "nan"}
    assert "| `lr=0.1` | 1337 | diverged |" in render_markdown("study-1", plan, analyse(plan, found), {})


def test_a_small_difference_has_enough_digits() -> None:
    (large,), (small,), (zero,) = (
        adjust_for_comparisons([paired_t_test(values)]) for values in ([0.1, 0.2, 0.3], [1e-6, 2e-6, 3e-6], [0.0, 0.0])
    )
    assert format_difference(large) == "+0.2000 [-0.0484, +0.4484]"
    assert format_difference(small) == "+0.0000020 [-0.0000005, +0.0000045]"
    assert format_difference(zero) == "+0.0000"
    assert format_difference(paired_t_test([0.5])) == "+0.5000" and format_difference(None) == ""


def test_a_study_without_results_has_a_report() -> None:
    plan = make_plan({"model_kind": "mini-gpt"}, {"width": (16, 18), "heads": (4, 9)}, {})
    text = render_markdown("study-1", plan, analyse(plan, {}), {})
    assert "Done: 0 of 6 runs" in text and "must be a multiple" in text and "1 comparison with" in text
