"""What a study's results say: each cell against the base, and what each axis does by itself and with another."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from engines.ablation.effects import Effect, Grid, Score
from engines.ablation.plan import Job, Plan
from engines.ablation.results import DIVERGED, UNREADABLE, Result
from engines.ablation.statistics import ALPHA, Difference, Spread, correct, paired_difference, spread, with_interval

FEWEST_PAIRS = 3  # two differences say next to nothing of how far a third may lie from them
NOT_TESTABLE = "not testable"  # every seed differs from the base by the same amount: there is no noise to compare with
_NOT_DONE = "not done yet"
_BROKEN = (DIVERGED, "halted", "crashed", "killed", UNREADABLE, "stopped")  # worst first


@dataclasses.dataclass(frozen=True)
class CellReport:
    """One cell over its seeds. Figures are of the seeds that came to their end; None where there is none."""

    cell: int
    name: str
    changes: dict[str, Any]
    rung: int
    results: tuple[Result, ...]
    score: Spread | None  # of what cells are judged by
    val_bpb: Spread | None
    best_bpb: Spread | None
    tokens_to_target: Spread | None  # None unless every seed reached it
    seconds_to_target: Spread | None
    difference: Difference | None = None  # against the base, seed by seed
    verdict: str = ""

    @property
    def p_corrected(self) -> float | None:
        return self.difference.p_corrected if self.difference else None

    @property
    def outcomes(self) -> dict[str, int]:
        """How many seeds ended how."""
        words = [result.outcome for result in self.results]
        return {word: words.count(word) for word in dict.fromkeys(words)}

    def mean(self, figure: str) -> float | None:
        """Of a figure of the results, over the seeds that have it."""
        values = [value for result in self.results if (value := getattr(result, figure)) is not None]
        return sum(values) / len(values) if values else None


@dataclasses.dataclass(frozen=True)
class Analysis:
    """A whole study. `cells` are ranked, the best first; `comparisons` is how many verdicts were asked for."""

    metric: str
    target_bpb: float | None
    cells: tuple[CellReport, ...]
    base: str
    comparisons: int
    effects: tuple[Effect, ...]
    interactions: tuple[Effect, ...]
    done: int
    total: int


def metric_of(plan: Plan) -> str:
    """What cells are judged by, decided before anything runs: less is better."""
    return "val_bpb" if plan.given.get("target_bpb") is None else "tokens_to_target"


def analyse(plan: Plan, results: Mapping[Job, Result]) -> Analysis:
    """Of all results so far."""
    metric, target = metric_of(plan), _target(plan, results)
    score = _score_of(metric, target)
    cells = [_report(plan, results, cell, score, target) for cell in range(len(plan.cells))]
    cells, comparisons = _judged(plan, cells, score)
    grid = Grid(plan, results, score)
    return Analysis(
        metric=metric,
        target_bpb=target,
        cells=tuple(sorted(cells, key=_rank)),
        base=plan.base,
        comparisons=comparisons,
        effects=tuple(grid.effects()),
        interactions=tuple(grid.interactions()),
        done=len(results),
        total=plan.total,
    )


def mean_of(analysis: Analysis, changes: Mapping[str, Any]) -> float | None:
    """Of the cells with these values, over seeds and the other axes; None where one of them has no figure."""
    scores = [cell.score for cell in analysis.cells if changes.items() <= cell.changes.items()]
    found = [score.mean for score in scores if score]
    return sum(found) / len(found) if found and len(found) == len(scores) else None


def _score_of(metric: str, target: float | None) -> Score:
    def score(result: Result) -> float | None:
        if not result.is_comparable:
            return None
        if metric == "val_bpb" or target is None:
            return result.val_bpb
        point = result.reached(target)
        return float(point.tokens) if point else None

    return score


def _target(plan: Plan, results: Mapping[Job, Result]) -> float | None:
    """The bits per byte that time and tokens are counted to: what was asked for, else what the base reached with every
    seed."""
    if (asked := plan.given.get("target_bpb")) is not None:
        return float(asked)
    found = [
        result.val_bpb
        for seed in plan.seeds
        if (result := results.get(Job(plan.base_index, seed, len(plan.rungs) - 1)))
        and result.is_comparable
        and result.val_bpb is not None
    ]
    return max(found, default=None)


def _report(plan: Plan, results: Mapping[Job, Result], cell: int, score: Score, target: float | None) -> CellReport:
    rung = max((job.rung for job in results if job.cell == cell), default=0)
    found = [results[job] for seed in plan.seeds if (job := Job(cell, seed, rung)) in results]
    whole = [result for result in found if result.is_comparable]
    reached = [result.reached(target) for result in whole if target is not None]
    points = [point for point in reached if point]
    points = points if len(points) == len(found) else []
    return CellReport(
        cell=cell,
        name=plan.cells[cell].name,
        changes=plan.cells[cell].changes,
        rung=rung,
        results=tuple(found),
        score=_spread([score(result) for result in found]),
        val_bpb=_spread([result.val_bpb for result in whole]),
        best_bpb=_spread([result.best_bpb for result in whole]),
        tokens_to_target=_spread([point.tokens for point in points]),
        seconds_to_target=_spread([point.seconds for point in points]),
    )


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return spread(known) if known else None


# --- against the base -------------------------------------------------------------------------------


def _judged(plan: Plan, cells: list[CellReport], score: Score) -> tuple[list[CellReport], int]:
    """Return the cells with their verdicts, and the number of comparisons that these are corrected for."""
    base = cells[plan.base_index]
    furthest = max(cell.rung for cell in cells)
    compared = [_compared(cell, base, furthest, plan, score) for cell in cells]
    tested = {index: cell.difference for index, cell in enumerate(compared) if not cell.verdict and cell.difference}
    # Cells that are not done yet already count, as they will at the end. Cells that the halving left out
    # count too: the same seeds selected the others, so each of them was a chance of a false verdict.
    without_p = sum(cell.verdict == _NOT_DONE or _is_left_out(cell, furthest) for cell in compared)
    comparisons = len(tested) + without_p
    for index, difference in zip(tested, correct([*tested.values()], without_p), strict=True):
        compared[index] = _decided(compared[index], difference)
    return [_with_interval(cell, comparisons) for cell in compared], comparisons


def _decided(cell: CellReport, difference: Difference) -> CellReport:
    assert difference.p_corrected is not None
    verdict = "better" if difference.spread.mean < 0 else "worse"
    if difference.p_corrected >= ALPHA:
        verdict = "no difference shown"
    return dataclasses.replace(cell, difference=difference, verdict=verdict)


def _with_interval(cell: CellReport, comparisons: int) -> CellReport:
    """Add an interval to a cell that was not tested, corrected for all comparisons (Bonferroni)."""
    if cell.difference is None or cell.p_corrected is not None:
        return cell
    return dataclasses.replace(cell, difference=with_interval(cell.difference, ALPHA / max(1, comparisons)))


def _compared(cell: CellReport, base: CellReport, furthest: int, plan: Plan, score: Score) -> CellReport:
    """Add the difference from the base, and the verdict if it needs no test."""
    if cell.cell == base.cell:
        return dataclasses.replace(cell, verdict="base")
    if _texts_differ(cell.results, base.results):
        return dataclasses.replace(cell, verdict="scored on another text")
    differences = _differences(cell.results, base.results, score) if cell.rung == base.rung else []
    found = paired_difference(differences) if differences else None
    verdict = _without_test(cell, furthest, len(differences), plan)
    if not verdict and found and found.p is None:
        verdict = NOT_TESTABLE
    return dataclasses.replace(cell, difference=found, verdict=verdict)


def _is_left_out(cell: CellReport, furthest: int) -> bool:
    """Return whether the halving trained other cells further than this one."""
    return cell.rung < furthest and not any(word in cell.outcomes for word in _BROKEN)


def _without_test(cell: CellReport, furthest: int, pairs: int, plan: Plan) -> str:
    """Return why a cell cannot be tested, or an empty string. Testing before all seeds are done, and stopping at the
    first good result, would find differences in noise."""
    if broken := next((word for word in _BROKEN if word in cell.outcomes), ""):
        return broken
    if _is_left_out(cell, furthest):
        return f"left after rung {cell.rung + 1} of {len(plan.rungs)}"
    if cell.rung < len(plan.rungs) - 1 or len(cell.results) < len(plan.seeds):
        return _NOT_DONE
    if cell.score is None or cell.score.n < len(cell.results):
        return "target not reached"
    if pairs < len(plan.seeds):
        return "the base has no result"
    return "" if pairs >= FEWEST_PAIRS else "too few seeds"


def _texts_differ(ours: Sequence[Result], theirs: Sequence[Result]) -> bool:
    """As with tokenizers of which `eval_tokens` tokens hold more or less text."""
    base = {result.job.seed: result.val_bytes for result in theirs if result.is_comparable}
    return any(
        result.val_bytes != base.get(result.job.seed, result.val_bytes) for result in ours if result.is_comparable
    )


def _differences(ours: Sequence[Result], theirs: Sequence[Result], score: Score) -> list[float]:
    """Seed by seed: the same order of data and split, so that what they share cancels out."""
    base = {result.job.seed: score(result) for result in theirs}
    pairs = [(score(result), base.get(result.job.seed)) for result in ours]
    return [a - b for a, b in pairs if a is not None and b is not None]


def _rank(cell: CellReport) -> tuple[bool, int, float, int]:
    """Broken and unfinished cells last; further rungs first; then the better score."""
    whole = cell.score is not None and cell.score.n == len(cell.results)
    return (not whole, -cell.rung, cell.score.mean if cell.score else 0.0, cell.cell)
