"""The prompt of `sample` from a file or stdin: its text exactly, and one sentence where it cannot be read."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.errors import SettingsError, UserError
from nanochat_tui.cli import main
from nanochat_tui.headless.prompt_file import MAX_BYTES, read_prompt


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        (b"two\nlines", "two\nlines"),
        (b"two\nlines\n", "two\nlines"),
        (b"two\r\nlines\r\n", "two\r\nlines"),
        (b"kept\n\n", "kept\n"),
        (b" \t", " \t"),
        (b"", ""),
        ("\ufefflé".encode(), "lé"),
    ],
)
def test_a_prompt_is_read_without_its_trailing_newline(
    content: bytes, prompt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompt.txt").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert read_prompt(str(tmp_path / "prompt.txt"), {}) == read_prompt("-", {}) == prompt


def test_a_prompt_that_cannot_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "latin1").write_bytes("é".encode("latin-1"))
    (tmp_path / "long").write_bytes(b"x" * (MAX_BYTES + 1))
    for name, reason in (("none", "not found"), ("", "directory"), ("latin1", "byte 0 is invalid"), ("long", "longer")):
        with pytest.raises(UserError, match=reason):
            read_prompt(str(tmp_path / name), {})
    with pytest.raises(UserError, match="unknown user"):
        read_prompt("~unknown-user/a", {})
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="stdin is closed"):
        read_prompt("-", {})


def test_two_prompts_are_a_usage_error() -> None:
    with pytest.raises(SettingsError, match="--prompt and --prompt-file are mutually exclusive"):
        read_prompt("-", {"prompt": "a"})


def test_sample_continues_the_prompt_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompt.txt").write_text("em\n")
    monkeypatch.chdir(tmp_path)
    words = ["--no-ui", "sample", "--max-new-tokens", "5", "--temperature", "0"]
    outputs: list[Any] = []
    for prompt in (["--prompt", "em"], ["--prompt-file", "prompt.txt"]):
        assert main([*words, *prompt]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] and outputs[0].startswith("em")
