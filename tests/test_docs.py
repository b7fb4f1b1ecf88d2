"""The docs say what the code does: generated tables are fresh, and every command in the README exists."""

import re
import runpy
from pathlib import Path

from nanochat_tui.commands import COMMANDS

ROOT = Path(__file__).resolve().parent.parent


def test_generated_tables_are_fresh() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]
    for name, page in pages.items():
        assert (ROOT / "docs" / name).read_text() == page(), f"run: python docs/generate.py ({name})"


def test_every_command_in_the_documents_exists() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for words in re.findall(r"nanochat-tui ((?:--[a-z-]+ )*[a-z-]+)", document.read_text()):
            *flags, command = words.split()
            if flags or command in COMMANDS:
                assert set(flags) <= {"--no-ui", "--json"} and command in COMMANDS, f"{document.name}: {words}"
