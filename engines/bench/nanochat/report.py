"""The report of a race: what was measured as JSON, and as tables for people."""

import json
import re
from pathlib import Path

from engines.bench.nanochat.table_rows import BPB, UNTIL_TARGET, Record, Row, at_target, rows, scores
from engines.errors import UserError
from engines.files import write_file
from engines.output.json_text import to_json
from engines.output.terminal_text import visible

VERSION = 1
_STEP = {"ours": "our_tokens_per_step", "upstream": "tokens_per_step"}  # of a budget
_VERSIONS = ("torch", "cuda", "driver", "python", "system", "cores")


def path_of(folder: Path, budget: str, device: str) -> Path:
    """Where the JSON of a budget on a device is; the Markdown is beside it."""
    gpu = re.sub("[^a-z0-9]+", "-", device.lower().replace("nvidia", "")).strip("-")
    return folder / f"nanochat-{budget}-{gpu}.json"


def load(path: Path) -> Record | None:
    """What an earlier call wrote; UserError where it cannot be read."""
    try:
        record = json.loads(path.read_text())
        return dict(record) if record["v"] == VERSION else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged; move it away, and measure again.") from None


def write(path: Path, record: Record) -> list[Path]:
    """Write the report as JSON and Markdown, and return their paths in this order."""
    paths = [path, path.with_suffix(".md")]
    for each, text in zip(paths, (to_json(record, indent=1) + "\n", visible(markdown(record))), strict=True):
        write_file(each, text, "report")
    return paths


# --- Markdown -----------------------------------------------------------------------------------------


def markdown(record: Record) -> str:
    budget, device = record["budget"], record["machine"]["device"]
    lines = [
        f"# Race against karpathy/nanochat: {budget['name']} on {device}",
        "",
        f"`{record['command']}`",
        "",
        f"Depth {budget['depth']}, a vocabulary of {budget['vocab_size']:,}, "
        f"{budget['steps'] * budget['tokens_per_step']:,} tokens in rows of {budget['context_length']:,}: "
        f"ours in {budget['our_steps']:,} steps of {budget['our_tokens_per_step']:,}, "
        f"upstream in {budget['steps']:,} of {budget['tokens_per_step']:,}.",
        "",
        *_facts(record),
        "",
        "| what | ours | upstream | ours / upstream | wanted |",
        "| --- | --- | --- | --- | --- |",
        *(_line(row) for row in rows(record)),
        "",
        *_notes(record),
        *_seeds(record),
        *_reliability(record),
        *_failures(record),
        "## Commands",
        "",
        *_commands(record),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _facts(record: Record) -> list[str]:
    machine = record["machine"]
    told = [f"{name} {machine[name]}" for name in _VERSIONS if machine.get(name)]
    lines = [f"- {', '.join(told)}"] if told else []
    if machine.get("matmul_flops"):
        rate, copy = machine["matmul_flops"] / 1e12, machine["copy_bytes"] / 1e9
        lines.append(f"- limits measured here: {rate:,.3g} TFLOP/s of matrix products, {copy:,.4g} GB/s of copies")
    if inherited := [f"{name}={value}" for name, value in record["environment"].items()]:
        lines.append(f"- both inherit {', '.join(inherited)}")
    commits = record["commits"]
    ours = " of ".join(filter(None, [commits["ours"], record["our_commit"]]))
    lines.append(f"- ours at {ours}, upstream at {commits['upstream']}")
    for split, facts in record["corpus"].items():
        count = f"{facts['documents']:,} documents, {facts['bytes']:,} bytes"
        lines.append(f"- {split}: {count}, sha256 of the texts {facts['sha256'][:16]}")
    return lines


def _line(row: Row) -> str:
    ours, upstream = (_number(value, row) for value in row.pair)
    return f"| {row.name} | {ours} | {upstream} | {_compared(row)} | {row.wanted} |"


def _compared(row: Row) -> str:
    if row.unit == BPB:
        return "" if row.difference is None else f"{row.difference:+.4f}"
    return "" if row.ratio is None else f"{row.ratio:.3f}"


def _number(value: float | None, row: Row) -> str:
    return "" if value is None else f"{value:,.{row.digits}f} {row.unit}".rstrip()


def _notes(record: Record) -> list[str]:
    """How the figures were taken, where that is not plain."""
    lines = [
        "Training seconds are those of steps after compilation, without data preparation and evaluation: ours all "
        "steps, as it compiles before the first; upstream's all but the first, which compiles. The time to a target is "
        "that of ours' first evaluation at or below it, not interpolated. Means over seeds.",
        "",
    ]
    if reached := at_target(record):
        schedule = f"{reached.steps:,} steps of {reached.rows:,} rows"
        lines += [f"Ours reached upstream's final val soonest in the training `{reached.part}`, of {schedule}.", ""]
    elif any(row.name == UNTIL_TARGET for row in rows(record)):
        lines += ["Ours did not reach upstream's final val.", ""]
    if record["machine"]["device"] == "cpu":
        lines += [
            "On a processor neither side is compiled (upstream with TORCHDYNAMO_DISABLE=1, as its first step would "
            "compile for minutes), and both compute in bfloat16 if the processor multiplies it (upstream with "
            "NANOCHAT_DTYPE=bfloat16).",
            "",
        ]
    return lines


def _seeds(record: Record) -> list[str]:
    lines = []
    for side in ("ours", "upstream"):
        for split in ("val", "heldout"):
            found = scores(record, side, split)
            if len(found) > 1:
                lines.append(f"- {side}, {split}: {', '.join(f'{bpb:.4f}' for bpb in found)}")
    return ["## Seeds", "", *lines, ""] if lines else []


def _reliability(record: Record) -> list[str]:
    """What kills cost, where both or one were killed."""
    lines = []
    for side in ("ours", "upstream"):
        told = record["parts"].get(side, {}).get("reliability", {})
        if told.get("status") == "ok":
            kills = "; ".join(map(_kill, told["kills"]))
            steps = f"{told['steps']} steps of {record['budget'][_STEP[side]]:,} tokens"
            lines += [
                f"- {side}, {steps}, killed {len(told['kills'])} times: {kills}",
                f"- {side}, the same seed twice: losses at most {told['same_seed_twice']:.2g} nats apart",
                f"- {side}, half of the newest checkpoint's weights missing: {told['truncated']}",
            ]
    return ["## Killed, and taken up again", "", *lines, ""] if lines else []


def _kill(kill: Record) -> str:
    if "failed" in kill:
        return f"at step {kill['at']}: {kill['failed']}"
    lost = f"{kill['lost']} step{'' if kill['lost'] == 1 else 's'} lost"
    gap = f"losses at most {kill['gap']:.2g} nats from the training that was left alone"
    return f"at step {kill['at']}, {lost}, {gap}"


def _failures(record: Record) -> list[str]:
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
                    lines += [f"- {side}, {name}: only {missing} of {split} were scored: its figure is left out", ""]
    return ["## What did not go well", "", *lines] if lines else []


def _commands(record: Record) -> list[str]:
    lines = []
    for side, parts in record["parts"].items():
        lines += [f"- {side}, {name}: `{part['command']}`" for name, part in parts.items() if "command" in part]
    return lines
