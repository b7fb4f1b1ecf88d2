"""The docs match the program: tables are current, links resolve, and every command runs or at least parses."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import ROOT, CodeBlock, code_blocks, commands, inline_commands, pages

from engines.errors import SettingsError
from nanochat_tui.commands import COMMANDS
from nanochat_tui.help import GLOBAL_OPTIONS
from nanochat_tui.parser import parse

OTHER_PROGRAMS = {
    "apt", "bash", "brew", "cat", "cd", "chmod", "cp", "curl", "docker", "git", "grep", "head", "ls", "mkdir",
    "nvidia-smi", "pip", "pipx", "podman", "printf", "python", "python3", "ray", "rsync", "scp", "ssh", "sudo", "tail",
    "tensorboard", "tmux", "uv", "wandb", "wsl", "exit", "export", "source", "echo",
}  # fmt: skip
LINK = re.compile(r"\]\(([^)\s]+)\)")
MAX_README_LINES = 120


def test_generated_tables_are_current() -> None:
    generated = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]
    for name, page in generated.items():
        assert (ROOT / "docs" / name).read_text() == page(), f"run: python docs/generate.py ({name})"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", pages())
def test_every_relative_link_resolves(page: str) -> None:
    for target in LINK.findall((ROOT / page).read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            name, _, anchor = target.partition("#")
            linked = (ROOT / page).parent / name if name else ROOT / page
            assert linked.resolve().is_relative_to(ROOT) and linked.exists(), f"{page} links to {target}"
            if anchor:
                assert anchor in anchors(linked), f"{page} links to {target}: no such heading"


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reachable_from_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    listed = {(ROOT / "docs" / target.partition("#")[0]).resolve() for target in LINK.findall(index)}
    missing = [path for path in (ROOT / "docs").rglob("*.md") if path.resolve() not in listed]
    assert [path for path in missing if path.name != "README.md"] == []


def test_every_page_that_the_code_names_exists() -> None:
    for path in [*(ROOT / "engines").rglob("*.py"), *(ROOT / "screens").rglob("*.py"), *(ROOT / "tests").glob("*.py")]:
        for name in re.findall(r"docs/[a-z_/-]+\.(?:md|py)", path.read_text()):
            assert (ROOT / name).exists(), f"{path.relative_to(ROOT)} names {name}"


@pytest.mark.parametrize("page", pages())
def test_every_file_that_a_page_names_exists(page: str) -> None:
    for name in re.findall(
        r"`((?:engines|screens|nanochat_tui|tests|docs|tools)/[\w/.-]*)`", (ROOT / page).read_text()
    ):
        assert (ROOT / name).exists(), f"{page} names {name}"


def test_every_environment_variable_is_documented() -> None:
    documented = (ROOT / "docs" / "reference" / "environment-variables.md").read_text()
    used = set()
    for folder in ("engines", "screens", "nanochat_tui"):
        for path in (ROOT / folder).rglob("*.py"):
            used |= set(re.findall(r"os\.environ(?:\.get|\.setdefault)?[(\[]\"([A-Z_]+)\"", path.read_text()))
    assert {name for name in used if f"`{name}`" not in documented} == set()


@pytest.mark.parametrize("page", pages())
def test_every_command_of_a_page_parses(page: str) -> None:
    for block in code_blocks(page):
        assert block.language, f"{page}:{block.line}: a code block without a language"
        if block.language == "sh":
            for words in commands(block.text):
                check_command(words, f"{page}:{block.line}")
    for text in inline_commands(page):
        for words in commands(text):
            check_command(words, page)


def check_command(words: list[str], place: str) -> None:
    """Fail for an unknown program, command, option or make target."""
    program, *rest = words[1:] if "=" in words[0] else words
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in rest if "=" not in word and not word.startswith("-")} <= set(targets), (
            f"{place}: {words}"
        )
    elif program.removeprefix(".venv/bin/") == "nanochat-tui":
        check_arguments(rest, place)
    else:
        assert program.removeprefix(".venv/bin/") in OTHER_PROGRAMS, f"{place}: {words}"


def check_arguments(words: list[str], place: str) -> None:
    """Parse the arguments of the program with its own parser."""
    words = [word for word in words if word not in {*GLOBAL_OPTIONS, "--help"} and word != "…"]
    if not words:
        return
    assert words[0] in COMMANDS, f"{place}: unknown command {words[0]}"
    try:
        parse(words[0], words[1:], as_json=False)
    except SettingsError as error:
        missing = "the following arguments are required"
        assert all(missing in problem for problem in error.problems), f"{place}: {' '.join(words)}: {error}"


@pytest.mark.parametrize("page", [page for page in pages() if any(block.is_executed for block in code_blocks(page))])
def test_every_command_that_takes_seconds_runs(page: str, tmp_path: Path, own_home: Path) -> None:
    environment = environment_with_program(tmp_path / "bin")
    folder = tmp_path / "work"
    folder.mkdir()
    output = ""
    for block in code_blocks(page):
        place = f"{page}:{block.line}"
        if block.file:
            (folder / block.file).write_text(block.text)
        elif block.is_executed:
            output = run_block(block, folder, environment)
        elif block.is_output:
            missing = [line for line in block.text.splitlines() if line != "..." and line.strip() not in output]
            assert not missing, f"{place}: not in the output: {missing}\n{output}"


def environment_with_program(folder: Path) -> dict[str, str]:
    """Return an environment whose path begins with a folder that contains `nanochat-tui`."""
    folder.mkdir()
    program = folder / "nanochat-tui"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m nanochat_tui "$@"\n')
    program.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TERM": "dumb"}


def run_block(block: CodeBlock, folder: Path, environment: dict[str, str]) -> str:
    """Execute a block as a shell script and return what it prints. Fails if a command does."""
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, f"{block.page}:{block.line}\n{result.stdout}"
    return result.stdout
