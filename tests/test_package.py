"""The wheel: holds what it should, and works in an empty environment, away from the checkout."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def built(folder: Path) -> Path:
    """Built from a copy: a build leaves files beside its sources, which the next one takes for sources."""
    sources = folder / "sources"
    for part in ("engines", "nanochat_tui", "screens"):
        shutil.copytree(ROOT / part, sources / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, sources, folder=folder)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_code_and_data_alone_and_works_in_an_empty_environment(tmp_path: Path) -> None:
    wheel = built(tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert {"engines/data/names.txt", "nanochat_tui/cli.py", "screens/train/train.tcss"} <= set(names)
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"engines", "nanochat_tui", "screens"}

    venv.create(tmp_path / "env")
    python, command = tmp_path / "env" / "bin" / "python", tmp_path / "env" / "bin" / "nanochat-tui"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", wheel, "platformdirs", folder=tmp_path)  # a scalar run needs no torch
    assert "model_kind=bigram" in run(command, "--no-ui", "train", "--steps", "5", folder=tmp_path)
    assert run(command, "--no-ui", "sample", folder=tmp_path)
