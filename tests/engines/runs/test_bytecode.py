"""Bytecode of a torch that was installed without: kept in the user's cache, so that a second start is faster."""

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from engines.system import bytecode


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A torch of one line, without bytecode."""
    origin = tmp_path / "site" / "torch" / "__init__.py"
    origin.parent.mkdir(parents=True)
    origin.write_text("here = __cached__\n")
    spec = ModuleSpec("torch", None, origin=str(origin))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return origin.parent


def test_a_torch_with_bytecode_is_left_unchanged(package: Path) -> None:
    (package / "__pycache__").mkdir()
    assert bytecode.environment() == {}


def test_nothing_is_compiled_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert bytecode.environment() == {}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the user's cache is in another place")
def test_bytecode_of_imported_modules_is_kept_in_the_users_cache(package: Path, tmp_path: Path) -> None:
    printed = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **bytecode.environment()}
    printed["PYTHONPATH"] = str(package.parent)
    subprocess.run([sys.executable, "-c", "import torch"], env=printed, check=True)
    assert not (package / "__pycache__").exists()
    kept = [path.name for path in (tmp_path / "cache" / "nanochat-tui" / "bytecode").rglob("*.pyc")]
    assert any(name.startswith("__init__.cpython") for name in kept)


@pytest.fixture
def compiler(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a compiler of one line, in a process that keeps bytecode elsewhere and has cores to spare."""
    folder = package / "_inductor"
    folder.mkdir()
    (folder / "__init__.py").write_text("compiled = True\n")
    monkeypatch.setattr("sys.pycache_prefix", str(tmp_path / "bytecode"))
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "bytecode"))
    monkeypatch.setattr("engines.system.bytecode.usable_cores", lambda: 4)
    return folder


def test_only_a_first_start_compiles_bytecode_in_other_processes(compiler: Path) -> None:
    unused = compiler.parent / "testing" / "much.py"
    unused.parent.mkdir()
    unused.write_text("compiled = False\n")
    thread = bytecode.compile_ahead()
    assert thread is not None
    thread.join()
    made = Path(importlib.util.cache_from_source(str(compiler / "__init__.py")))
    assert made.exists()
    assert not Path(importlib.util.cache_from_source(str(unused))).exists()
    assert list(compiler.iterdir()) == [compiler / "__init__.py"]
    assert bytecode.compile_ahead() is None


def test_no_bytecode_is_compiled_on_few_cores(compiler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.system.bytecode.usable_cores", lambda: 2)
    assert bytecode.compile_ahead() is None


def test_bytecode_in_the_folder_of_torch_is_not_managed(compiler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.pycache_prefix", None)
    assert bytecode.compile_ahead() is None


def test_damaged_bytecode_is_reported_and_deleted(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text("value = 1\n")
    kept = tmp_path / "kept"
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from engines.system import bytecode
sys.pycache_prefix = {str(kept)!r}
try:
    import small
except Exception as error:
    print(bytecode.discard_if_damaged(error))
"""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    for expected in ("", f"compiled modules in {kept} were damaged and have been deleted. Resume the run.", ""):
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected
        for path in kept.rglob("small*.pyc"):
            path.write_bytes(path.read_bytes()[:-10])
    assert not discard_of_another_error()


def discard_of_another_error() -> str:
    try:
        raise EOFError
    except EOFError as error:
        return bytecode.discard_if_damaged(error)
