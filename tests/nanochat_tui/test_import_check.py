"""A package of the same name as one of the program's is reported at start-up, and is never imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_in(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m nanochat_tui --no-ui runs` in a folder, with the program installed elsewhere."""
    command = [sys.executable, *arguments, "-m", "nanochat_tui", "--no-ui", "runs"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["engines", "screens"])
@pytest.mark.parametrize("file", ["{}/__init__.py", "{}.py"])
def test_a_foreign_package_in_the_working_directory_is_reported(name: str, file: str, tmp_path: Path) -> None:
    path = tmp_path / file.format(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("print('imported')")
    result = run_in(tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    location = path.parent if path.name == "__init__.py" else path
    assert result.stderr == (
        f"nanochat-tui failed: the package {name} of this program is hidden by {location}, which is not part of it. "
        "Use the installed command nanochat-tui or `python -P -m nanochat_tui`, which do not import from the working "
        "directory; if the path is in PYTHONPATH, remove it there.\n"
    )


def test_without_the_working_directory_on_the_path_everything_works(tmp_path: Path) -> None:
    for name in ("engines", "screens", "nanochat_tui"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError")
    result = run_in(tmp_path, "-P")
    assert result.returncode == 0 and "no runs yet" in result.stderr


def test_folders_that_are_not_packages_do_no_harm(tmp_path: Path) -> None:
    for name in ("engines", "screens", "nanochat_tui"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").touch()
    result = run_in(tmp_path)
    assert result.returncode == 0 and "no runs yet" in result.stderr
