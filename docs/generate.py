"""Writes the tables in docs/ from the declarations in the code: `python docs/generate.py`. A test compares."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from engines import events  # noqa: E402
from engines.ablation.settings import StudySettings  # noqa: E402
from engines.settings.fields import AUTO, Field, fields, shown_default  # noqa: E402
from engines.settings.sample import CountSettings, SampleSettings  # noqa: E402
from engines.settings.train import TrainSettings  # noqa: E402

NOTE = "<!-- made by docs/generate.py from the code: change it there -->"


def settings() -> str:
    """docs/reference/settings.md"""
    lines = ["# Settings", "", NOTE, "", "Every one is a flag, and a key of the TOML that `train --config FILE` takes."]
    lines += [
        "",
        "Numbers are written with ASCII digits: `1000`, `1_000`, `1e3`; sizes and times also as `10M` and `1h30m`.",
        "A setting whose needs are not met has no effect: it is refused or reported.",
    ]
    for title, declared in (
        ("train", TrainSettings),
        ("sample", SampleSettings),
        ("sample without a run", CountSettings),
        ("ablate", StudySettings),
    ):
        group = ""
        for field in fields(declared).values():
            if field.group != group:
                group = field.group
                heading = title if title.endswith(group) else f"{title}: {group}"
                lines += [
                    "",
                    f"## {heading}",
                    "",
                    "| setting | takes | default | what it is |",
                    "| --- | --- | --- | --- |",
                ]
            lines.append(f"| `{field.flag}` | {_takes(field)} | {_default(field)} | {field.help}{_needs(field)} |")
    return "\n".join(lines) + "\n"


def event_table() -> str:
    """docs/reference/events.md"""
    lines = ["# Events", "", NOTE, "", *(events.__doc__ or "").strip().splitlines(), ""]
    lines += ["Every event may carry more fields than these; readers ignore what they do not know.", ""]
    lines += ["| kind | fields |", "| --- | --- |"]
    for kind, names in events.KINDS.items():
        shown = ", ".join(f"`{name}` {_types(types)}" for name, types in names.items())
        lines.append(f"| `{kind}` | {shown} |")
    return "\n".join(lines) + "\n"


def _needs(field: Field) -> str:
    """Return what the other settings must be for this one to have an effect."""
    needed = [requirement.words for requirement in field.applies_when]
    return f"; needs {' and '.join(needed)}" if needed else ""


def _takes(field: Field) -> str:
    return field.takes.replace("|", ", ").lower()


def _default(field: Field) -> str:
    if field.default is AUTO:
        return "auto"
    return shown_default(field) or "none"


def _types(types: tuple[type, ...]) -> str:
    names = {
        "int": "whole",
        "float": "number",
        "str": "text",
        "list": "list",
        "bool": "true or false",
        "NoneType": "null",
    }
    found = [names[kind.__name__] for kind in types]
    return " or ".join(name for name in found if not (name == "whole" and "number" in found))


PAGES = {"reference/settings.md": settings, "reference/events.md": event_table}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
