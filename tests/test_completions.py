"""Shell completions: current, and working in bash, which every developer's machine has."""

import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GENERATOR = runpy.run_path(str(ROOT / "tools" / "completions.py"))


def test_the_committed_completions_are_current() -> None:
    for name, text in GENERATOR["render_completions"]().items():
        assert (ROOT / "completions" / name).read_text() == text, f"run: make completions ({name})"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nanochat-tui tra", "train"),
        ("nanochat-tui train --warmup", "--warmup-fraction"),
        ("nanochat-tui train --optimizer ad", "adamw"),
        ("nanochat-tui --no-ui export --format ten", "tensorboard"),
        ("nanochat-tui doctor --device c", "cpu cuda"),
        ("nanochat-tui train --data corp", "corpus.txt"),
    ],
)
def test_bash_completes_commands_options_choices_and_paths(line: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").touch()
    words = line.split()
    script = f"""
    source {ROOT / "completions" / GENERATOR["FILES"]["bash"]}
    COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
    _shtab_nanochat_tui nanochat-tui {words[-1]} {words[-2]}
    echo "${{COMPREPLY[*]}}"
    """
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == expected
