"""The wheel: its contents, and its commands in an empty environment, away from the checkout."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


HIDING_PACKAGES = ("engines", "screens", "nanochat_tui")


def run(*command: str | Path, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy: a build leaves files next to its sources, which the next one takes for sources."""
    sources = folder / "sources"
    for part in ("engines", "nanochat_tui", "screens"):
        shutil.copytree(ROOT / part, sources / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, sources, folder=folder)
    return next(folder.glob("*.whl"))


def create_hiding_packages(folder: Path) -> Path:
    """Return a working directory with packages of the same names that fail when they are imported."""
    for name in HIDING_PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('imported')")
    return folder


def test_the_wheel_contains_only_code_and_data_and_works_in_an_empty_environment(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert {"engines/data/names.txt", "nanochat_tui/cli.py", "screens/train/train.tcss"} <= set(names)
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"engines", "nanochat_tui", "screens"}

    venv.create(tmp_path / "env")
    python, command = tmp_path / "env" / "bin" / "python", tmp_path / "env" / "bin" / "nanochat-tui"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", wheel, "platformdirs", folder=tmp_path)  # a scalar run needs no torch
    assert run(command, "--version", folder=tmp_path).startswith("nanochat-tui 0.")
    working_directory = create_hiding_packages(tmp_path / "work")
    assert "model_kind=bigram" in run(command, "--no-ui", "train", "--steps", "5", folder=working_directory)
    assert run(command, "--no-ui", "sample", folder=working_directory)
