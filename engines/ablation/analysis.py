"""Analysis of a study's results: each cell compared with the base, main effects and interaction effects."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from engines.ablation.effects import Effect, FullGrid, ScoreFunction
from engines.ablation.plan import Job, Plan
from engines.ablation.results import DIVERGED, UNREADABLE, RunResult
from engines.ablation.statistics import (
    ALPHA,
    PairedDifference,
    Spread,
    add_confidence_interval,
    adjust_for_comparisons,
    compute_spread,
    paired_t_test,
)

MIN_PAIRS = 3  # the standard deviation of two differences is too uncertain for a verdict
NOT_TESTABLE = "not testable"  # every seed differs from the base by the same amount: there is no noise to compare with
NOT_DONE = "not done yet"
NO_BASE_RESULT = "the base has no result"
TOO_FEW_SEEDS = "too few seeds"
_FAILURES = (DIVERGED, "halted", "crashed", "killed", UNREADABLE, "stopped")  # worst first


@dataclasses.dataclass(frozen=True)
class CellReport:
    """One cell over its seeds. Scores are those of the seeds that finished, None if there are none."""

    cell: int
    name: str
    changes: dict[str, Any]
    rung: int
    results: tuple[RunResult, ...]
    score: Spread | None  # of the metric that cells are compared by
    val_bpb: Spread | None
    best_bpb: Spread | None
    tokens_to_target: Spread | None  # None unless every seed reached it
    seconds_to_target: Spread | None
    difference: PairedDifference | None = None  # from the base, paired by seed
    verdict: str = ""

    @property
    def p_corrected(self) -> float | None:
        """The Holm-adjusted p-value of the difference; None if it was not tested."""
        return self.difference.p_corrected if self.difference else None

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of seeds for each outcome."""
        outcomes = [result.outcome for result in self.results]
        return {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}

    def mean(self, attribute: str) -> float | None:
        """Return the mean of an attribute of the results, over the seeds that have it."""
        values = [value for result in self.results if (value := getattr(result, attribute)) is not None]
        return sum(values) / len(values) if values else None


@dataclasses.dataclass(frozen=True)
class Analysis:
    """A whole study. `cells` are ranked, the best first; p-values are adjusted for `comparisons`."""

    metric: str
    target_bpb: float | None
    cells: tuple[CellReport, ...]
    base: str
    comparisons: int
    effects: tuple[Effect, ...]
    interactions: tuple[Effect, ...]
    done: int
    total: int


def choose_metric(plan: Plan) -> str:
    """Return the metric that cells are compared by, fixed before anything runs; lower is better."""
    return "val_bpb" if plan.given.get("target_bpb") is None else "tokens_to_target"


def analyse(plan: Plan, results: Mapping[Job, RunResult]) -> Analysis:
    """Analyse the results so far."""
    metric, target = choose_metric(plan), _choose_target(plan, results)
    score = _score_function(metric, target)
    cells = [_summarise_cell(plan, results, cell, score, target) for cell in range(len(plan.cells))]
    cells, comparisons = _compare_with_base(plan, cells, score)
    grid = FullGrid(plan, results, score)
    return Analysis(
        metric=metric,
        target_bpb=target,
        cells=tuple(sorted(cells, key=_rank)),
        base=plan.base,
        comparisons=comparisons,
        effects=tuple(grid.compute_main_effects()),
        interactions=tuple(grid.compute_interactions()),
        done=len(results),
        total=plan.total,
    )


def compute_mean_score(analysis: Analysis, changes: Mapping[str, Any]) -> float | None:
    """Return the mean over seeds and cells with these values, or None if one of these cells has no score."""
    scores = [cell.score for cell in analysis.cells if changes.items() <= cell.changes.items()]
    known = [score.mean for score in scores if score]
    return sum(known) / len(known) if known and len(known) == len(scores) else None


def _score_function(metric: str, target: float | None) -> ScoreFunction:
    def score(result: RunResult) -> float | None:
        if not result.is_comparable:
            return None
        if metric == "val_bpb" or target is None:
            return result.val_bpb
        point = result.find_target(target)
        return float(point.tokens) if point else None

    return score


def _choose_target(plan: Plan, results: Mapping[Job, RunResult]) -> float | None:
    """Return the bits per byte to which time and tokens are measured: the setting, or what the base reached with every
    seed."""
    if (given := plan.given.get("target_bpb")) is not None:
        return float(given)
    reached = [
        result.val_bpb
        for seed in plan.seeds
        if (result := results.get(Job(plan.base_index, seed, len(plan.rungs) - 1)))
        and result.is_comparable
        and result.val_bpb is not None
    ]
    return max(reached, default=None)


def _summarise_cell(
    plan: Plan, results: Mapping[Job, RunResult], cell: int, score: ScoreFunction, target: float | None
) -> CellReport:
    """Summarise the results of a cell's highest rung, without a comparison."""
    rung = max((job.rung for job in results if job.cell == cell), default=0)
    of_cell = [results[job] for seed in plan.seeds if (job := Job(cell, seed, rung)) in results]
    finished = [result for result in of_cell if result.is_comparable]
    points = [point for result in finished if target is not None and (point := result.find_target(target))]
    points = points if len(points) == len(of_cell) else []
    return CellReport(
        cell=cell,
        name=plan.cells[cell].name,
        changes=plan.cells[cell].changes,
        rung=rung,
        results=tuple(of_cell),
        score=_spread_of_known([score(result) for result in of_cell]),
        val_bpb=_spread_of_known([result.val_bpb for result in finished]),
        best_bpb=_spread_of_known([result.best_bpb for result in finished]),
        tokens_to_target=_spread_of_known([point.tokens for point in points]),
        seconds_to_target=_spread_of_known([point.seconds for point in points]),
    )


def _spread_of_known(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return compute_spread(known) if known else None


# --- comparison with the base -----------------------------------------------------------------------


def _compare_with_base(plan: Plan, cells: list[CellReport], score: ScoreFunction) -> tuple[list[CellReport], int]:
    """Return the cells with their verdicts, and the number of comparisons that these are adjusted for."""
    base = cells[plan.base_index]
    last_rung = max(cell.rung for cell in cells)
    compared = [_add_difference(cell, base, last_rung, plan, score) for cell in cells]
    tested = {index: cell.difference for index, cell in enumerate(compared) if not cell.verdict and cell.difference}
    # Cells that are not done yet already count, as they will at the end. Cells that the halving dropped count too:
    # the same seeds selected the others, so each of them was a chance of a false verdict.
    without_p = sum(cell.verdict == NOT_DONE or _was_dropped(cell, last_rung) for cell in compared)
    comparisons = len(tested) + without_p
    for index, difference in zip(tested, adjust_for_comparisons([*tested.values()], without_p), strict=True):
        compared[index] = _add_verdict(compared[index], difference)
    return [_add_untested_interval(cell, comparisons) for cell in compared], comparisons


def _add_verdict(cell: CellReport, difference: PairedDifference) -> CellReport:
    assert difference.p_corrected is not None
    verdict = "better" if difference.spread.mean < 0 else "worse"
    if difference.p_corrected >= ALPHA:
        verdict = "no difference shown"
    return dataclasses.replace(cell, difference=difference, verdict=verdict)


def _add_untested_interval(cell: CellReport, comparisons: int) -> CellReport:
    """Add an interval to a cell that was not tested, adjusted for all comparisons (Bonferroni)."""
    if cell.difference is None or cell.p_corrected is not None:
        return cell
    interval = add_confidence_interval(cell.difference, ALPHA / max(1, comparisons))
    return dataclasses.replace(cell, difference=interval)


def _add_difference(cell: CellReport, base: CellReport, last_rung: int, plan: Plan, score: ScoreFunction) -> CellReport:
    """Add the difference from the base, and the verdict if it needs no test."""
    if cell.cell == base.cell:
        return dataclasses.replace(cell, verdict="base")
    if _have_different_texts(cell.results, base.results):
        return dataclasses.replace(cell, verdict="evaluated on different text")
    differences = _paired_differences(cell.results, base.results, score) if cell.rung == base.rung else []
    difference = paired_t_test(differences) if differences else None
    verdict = _verdict_without_test(cell, last_rung, len(differences), plan)
    if not verdict and difference and difference.p is None:
        verdict = NOT_TESTABLE
    return dataclasses.replace(cell, difference=difference, verdict=verdict)


def _was_dropped(cell: CellReport, last_rung: int) -> bool:
    """Return whether successive halving trained other cells further than this one."""
    return cell.rung < last_rung and not any(failure in cell.outcomes for failure in _FAILURES)


def _verdict_without_test(cell: CellReport, last_rung: int, pairs: int, plan: Plan) -> str:
    """Return why a cell cannot be tested, or an empty string. Testing before all seeds are done, and stopping at the
    first good result, would find differences in noise."""
    if failed := next((failure for failure in _FAILURES if failure in cell.outcomes), ""):
        return failed
    if _was_dropped(cell, last_rung):
        return f"dropped after rung {cell.rung + 1} of {len(plan.rungs)}"
    if cell.rung < len(plan.rungs) - 1 or len(cell.results) < len(plan.seeds):
        return NOT_DONE
    if cell.score is None or cell.score.n < len(cell.results):
        return "target not reached"
    if pairs < len(plan.seeds):
        return NO_BASE_RESULT
    return "" if pairs >= MIN_PAIRS else TOO_FEW_SEEDS


def _have_different_texts(ours: Sequence[RunResult], base: Sequence[RunResult]) -> bool:
    """Return whether validation texts differ in length, as with tokenizers whose `eval_tokens` tokens cover more or
    less text."""
    base_bytes = {result.job.seed: result.val_bytes for result in base if result.is_comparable}
    return any(
        result.val_bytes != base_bytes.get(result.job.seed, result.val_bytes) for result in ours if result.is_comparable
    )


def _paired_differences(ours: Sequence[RunResult], base: Sequence[RunResult], score: ScoreFunction) -> list[float]:
    """Return the difference for each seed. Runs with the same seed share data order and split, so their common noise
    cancels out."""
    base_scores = {result.job.seed: score(result) for result in base}
    pairs = [(score(result), base_scores.get(result.job.seed)) for result in ours]
    return [a - b for a, b in pairs if a is not None and b is not None]


def _rank(cell: CellReport) -> tuple[bool, int, float, int]:
    """Sort key: failed and unfinished cells last, then later rungs first, then the better score."""
    is_complete = cell.score is not None and cell.score.n == len(cell.results)
    return (not is_complete, -cell.rung, cell.score.mean if cell.score else 0.0, cell.cell)
