"""Code blocks and inline commands of the Markdown pages.

The first word after the three backticks is the language, the others say what a test does with the block:

    ```sh                       every line is executed, in a folder that all blocks of the page share
    ```sh dry                   long, interactive, or needs a GPU or the network: the options are parsed, nothing runs
    ```toml file=tricks.toml    written to that file, for the commands that follow
    ```text output              lines that the commands of the last executed block print; `...` stands for others
    ```text                     anything else that is not a command

Inline code that starts with `nanochat-tui` and `make` is parsed like a dry block.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^( *)```(.*)$")
INLINE = re.compile(r"`((?:nanochat-tui|make) [^`]+)`")


class CodeBlock(NamedTuple):
    """A fenced code block; `line` is where its text begins."""

    page: str
    line: int
    language: str
    options: list[str]
    text: str

    @property
    def is_dry(self) -> bool:
        return "dry" in self.options

    @property
    def is_executed(self) -> bool:
        return self.language == "sh" and not self.is_dry

    @property
    def is_output(self) -> bool:
        return "output" in self.options

    @property
    def file(self) -> str:
        return next((option[5:] for option in self.options if option.startswith("file=")), "")


def pages() -> list[str]:
    """Return every Markdown page that readers of the repository see, without reports that commands wrote."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "results" / "README.md"]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def code_blocks(page: str) -> list[CodeBlock]:
    """Return the fenced blocks of a page. Raises ValueError for a block that is not closed."""
    found, opened = [], None
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None and fence:
            language, *options = [*fence[2].split(), ""][:-1] or [""]
            opened = (number + 1, language, options, [])
        elif opened and fence and not fence[2]:
            start, language, options, lines = opened
            found.append(CodeBlock(page, start, language, options, "\n".join(lines) + "\n"))
            opened = None
        elif opened:
            opened[3].append(line)
    if opened:
        raise ValueError(f"{page}: the code block of line {opened[0] - 1} is not closed")
    return found


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command of a shell text: continued lines are joined, pipes and lists are split."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("|&;()"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def inline_commands(page: str) -> Iterator[str]:
    """Yield the inline code of a page that is a command."""
    text = (ROOT / page).read_text()
    for block in code_blocks(page):
        text = text.replace(block.text, "", 1)
    for match in INLINE.finditer(text):
        yield match[1]
