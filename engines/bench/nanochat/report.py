"""The report of a benchmark as JSON and Markdown."""

import json
import re
from pathlib import Path

from engines.bench.nanochat.table_rows import (
    BPB,
    TIME_TO_TARGET,
    ComparisonRow,
    Record,
    build_rows,
    find_time_to_target,
    list_scores,
)
from engines.errors import UserError
from engines.files import write_file
from engines.output.json_text import to_json
from engines.output.terminal_text import visible

VERSION = 1
_TOKENS_PER_STEP = {"ours": "our_tokens_per_step", "upstream": "tokens_per_step"}  # keys of a budget
_VERSIONS = ("torch", "cuda", "driver", "python", "system", "cores")


def get_report_path(folder: Path, budget: str, device: str) -> Path:
    """Return the path of the JSON report of a budget on a device; the Markdown is next to it."""
    gpu = re.sub("[^a-z0-9]+", "-", device.lower().replace("nvidia", "")).strip("-")
    return folder / f"nanochat-{budget}-{gpu}.json"


def load_record(path: Path) -> Record | None:
    """Return the record of an earlier call, or None. Raises UserError if it is damaged."""
    try:
        record = json.loads(path.read_text())
        return dict(record) if record["v"] == VERSION else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged. Move it away and run the benchmark again.") from None


def write_report(path: Path, record: Record) -> list[Path]:
    """Write the report as JSON and Markdown, and return their paths in this order."""
    paths = [path, path.with_suffix(".md")]
    for each, text in zip(paths, (to_json(record, indent=1) + "\n", visible(render_markdown(record))), strict=True):
        write_file(each, text, "report")
    return paths


# --- Markdown -----------------------------------------------------------------------------------------


def render_markdown(record: Record) -> str:
    """Return the report as Markdown."""
    budget, device = record["budget"], record["machine"]["device"]
    lines = [
        f"# Race against karpathy/nanochat: {budget['name']} on {device}",
        "",
        f"`{record['command']}`",
        "",
        f"Depth {budget['depth']}, a vocabulary of {budget['vocab_size']:,} tokens, "
        f"{budget['steps'] * budget['tokens_per_step']:,} tokens in rows of {budget['context_length']:,}: "
        f"ours in {budget['our_steps']:,} steps of {budget['our_tokens_per_step']:,}, "
        f"upstream in {budget['steps']:,} of {budget['tokens_per_step']:,}.",
        "",
        *_describe_environment(record),
        "",
        "| figure | ours | upstream | ours / upstream | goal |",
        "| --- | --- | --- | --- | --- |",
        *(_render_row(row) for row in build_rows(record)),
        "",
        *_explain_figures(record),
        *_list_seeds(record),
        *_describe_reliability(record),
        *_list_failures(record),
        "## Commands",
        "",
        *_list_commands(record),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _describe_environment(record: Record) -> list[str]:
    machine = record["machine"]
    versions = [f"{name} {machine[name]}" for name in _VERSIONS if machine.get(name)]
    lines = [f"- {', '.join(versions)}"] if versions else []
    if machine.get("matmul_flops"):
        rate, copy = machine["matmul_flops"] / 1e12, machine["copy_bytes"] / 1e9
        lines.append(f"- measured limits: {rate:,.3g} TFLOP/s in matrix products, {copy:,.4g} GB/s in copies")
    if inherited := [f"{name}={value}" for name, value in record["environment"].items()]:
        lines.append(f"- environment of both: {', '.join(inherited)}")
    commits = record["commits"]
    ours = " of ".join(filter(None, [commits["ours"], record["our_commit"]]))
    lines.append(f"- ours at {ours}, upstream at {commits['upstream']}")
    for split, facts in record["corpus"].items():
        count = f"{facts['documents']:,} documents, {facts['bytes']:,} bytes"
        lines.append(f"- {split}: {count}, sha256 of the texts {facts['sha256'][:16]}")
    return lines


def _render_row(row: ComparisonRow) -> str:
    ours, upstream = (_format_value(value, row) for value in row.pair)
    return f"| {row.name} | {ours} | {upstream} | {_format_comparison(row)} | {row.goal} |"


def _format_comparison(row: ComparisonRow) -> str:
    if row.unit == BPB:
        return "" if row.difference is None else f"{row.difference:+.4f}"
    return "" if row.ratio is None else f"{row.ratio:.3f}"


def _format_value(value: float | None, row: ComparisonRow) -> str:
    return "" if value is None else f"{value:,.{row.digits}f} {row.unit}".rstrip()


def _explain_figures(record: Record) -> list[str]:
    """Explain how the figures were measured."""
    lines = [
        "Training time is that of the steps after compilation, without data preparation and evaluation: all steps of "
        "ours, which compiles before the first; all but the first of upstream, which compiles in it. The time to a "
        "target is that of our first evaluation at or below it, not interpolated. Values are means over seeds.",
        "",
    ]
    if reached := find_time_to_target(record):
        schedule = f"{reached.steps:,} steps of {reached.rows:,} rows"
        lines += [f"Ours reached upstream's final val first in the training `{reached.part}` with {schedule}.", ""]
    elif any(row.name == TIME_TO_TARGET for row in build_rows(record)):
        lines += ["Ours did not reach upstream's final val.", ""]
    if record["machine"]["device"] == "cpu":
        lines += [
            "On a CPU neither side is compiled (upstream with TORCHDYNAMO_DISABLE=1, as its first step would compile "
            "for minutes), and both compute in bfloat16 if the CPU supports it (upstream with "
            "NANOCHAT_DTYPE=bfloat16).",
            "",
        ]
    return lines


def _list_seeds(record: Record) -> list[str]:
    lines = []
    for side in ("ours", "upstream"):
        for split in ("val", "heldout"):
            scores = list_scores(record, side, split)
            if len(scores) > 1:
                lines.append(f"- {side}, {split}: {', '.join(f'{bpb:.4f}' for bpb in scores)}")
    return ["## Seeds", "", *lines, ""] if lines else []


def _describe_reliability(record: Record) -> list[str]:
    """Describe the cost of kills for the sides that were measured."""
    lines = []
    for side in ("ours", "upstream"):
        part = record["parts"].get(side, {}).get("reliability", {})
        if part.get("status") == "ok":
            kills = "; ".join(map(_describe_kill, part["kills"]))
            steps = f"{part['steps']} steps of {record['budget'][_TOKENS_PER_STEP[side]]:,} tokens"
            lines += [
                f"- {side}, {steps}, killed {len(part['kills'])} times: {kills}",
                f"- {side}, same seed twice: losses differ by at most {part['same_seed_twice']:.2g} nats",
                f"- {side}, newest checkpoint truncated to half: {part['truncated']}",
            ]
    return ["## Killed and resumed", "", *lines, ""] if lines else []


def _describe_kill(kill: Record) -> str:
    if "failed" in kill:
        return f"at step {kill['at']}: {kill['failed']}"
    lost = f"{kill['lost']} step{'' if kill['lost'] == 1 else 's'} lost"
    gap = f"losses differ by at most {kill['gap']:.2g} nats from the uninterrupted training"
    return f"at step {kill['at']}, {lost}, {gap}"


def _list_failures(record: Record) -> list[str]:
    lines = []
    for side, parts in record["parts"].items():
        for name, part in parts.items():
            if part["status"] != "ok":
                lines += [f"- {side}, {name}: {part['status']}: {part['reason']}", ""]
                tail = part.get("tail", [])
                lines += ["  ```", *(f"  {line}" for line in tail), "  ```", ""] if tail else []
            for split, score in part.get("scores", {}).items():
                if score["scored_bytes"] != score["text_bytes"]:
                    missing = f"{score['scored_bytes']:,} of {score['text_bytes']:,} bytes"
                    lines += [f"- {side}, {name}: only {missing} of {split} were scored; the score is left out", ""]
    return ["## Failures", "", *lines] if lines else []


def _list_commands(record: Record) -> list[str]:
    lines = []
    for side, parts in record["parts"].items():
        lines += [f"- {side}, {name}: `{part['command']}`" for name, part in parts.items() if "command" in part]
    return lines
