"""Layers: imports only point downwards, without cycles, and heavy packages are imported only where they are needed."""

import ast
import dataclasses
import graphlib
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import finished_run, write_text

from engines import registry
from engines.checkpoints.files import Checkpoint, write_checkpoint
from engines.checkpoints.folders import get_checkpoint_path
from engines.settings.resolve import resolve

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "engines": {"engines"},
    "screens": {"engines", "screens"},
    "nanochat_tui": {"engines", "screens", "nanochat_tui"},
}
LIGHT_PACKAGES = (  # of engines: none of them imports torch
    "engines.ablation.",
    "engines.checkpoints.folders.",
    "engines.cost.",
    "engines.errors.",
    "engines.events.",
    "engines.files.",
    "engines.generation.client.",
    "engines.output.",
    "engines.reports.",
    "engines.runs.",
    "engines.settings.",
    "engines.system.gpus.",
    "engines.system.subprocesses.",
    "engines.training.create_run.",
)


def imports_of(path: Path) -> set[str]:
    """Return the dotted names that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_a_layer_imports_only_itself_and_those_below(layer: str) -> None:
    for path in (ROOT / layer).rglob("*.py"):
        ours = {name for name in imports_of(path) if name.split(".")[0] in MAY_IMPORT}
        assert {name.split(".")[0] for name in ours} <= MAY_IMPORT[layer], path
        if layer == "screens":
            heavy = {name for name in ours if name.startswith("engines.") and not f"{name}.".startswith(LIGHT_PACKAGES)}
            assert not heavy, path


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_imports_of_files_have_no_cycle(layer: str) -> None:
    """Imports inside functions and for type checking count too."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / layer).rglob("*.py")
    }
    imports = {
        name: {
            owner
            for found in imports_of(path)
            for owner in (found, found.rpartition(".")[0])
            if owner in modules and owner != name
        }
        for name, path in modules.items()
    }
    assert find_cycle(imports) == []


def find_cycle(imports: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_imports_of_packages_have_no_cycle() -> None:
    graph = runpy.run_path(str(ROOT / "tools" / "import_layers.py"))["import_graph"]()
    assert find_cycle(graph) == []


FEATURES = ("ablate", "runs", "sample", "train")


@pytest.mark.parametrize("feature", FEATURES)
def test_no_screen_imports_another(feature: str) -> None:
    others = tuple(f"screens.{other}." for other in FEATURES if other != feature)
    for path in (ROOT / "screens" / feature).rglob("*.py"):
        assert not {name for name in imports_of(path) if f"{name}.".startswith(others)}, path


def test_the_chart_imports_nothing_but_widgets_and_ticks() -> None:
    allowed = ("screens.chart.", "screens.widgets.", "engines.output.ticks.")  # reports have the same ticks
    for path in (ROOT / "screens" / "chart").rglob("*.py"):
        ours = {name for name in imports_of(path) if name.split(".")[0] in MAY_IMPORT}
        assert not {name for name in ours if not f"{name}.".startswith(allowed)}, path


@pytest.mark.parametrize("package", ["shared", "widgets"])
def test_shared_packages_import_no_screen(package: str) -> None:
    features = tuple(f"screens.{feature}." for feature in FEATURES)
    for path in (ROOT / "screens" / package).rglob("*.py"):
        assert not {name for name in imports_of(path) if f"{name}.".startswith(features)}, path


def test_every_file_begins_with_a_docstring() -> None:
    for layer in MAY_IMPORT:
        for path in (ROOT / layer).rglob("*.py"):
            assert ast.get_docstring(ast.parse(path.read_text())), path


def modules_after(code: str) -> set[str]:
    """Return the names of all modules that are loaded when a new process has run the code."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


HEAVY = {"torch", "numpy", "textual", "rich"}


def test_help_loads_no_heavy_package() -> None:
    loaded = modules_after("from nanochat_tui.cli import main\nmain(['--help'])")
    assert loaded.isdisjoint(HEAVY | {"argparse", "subprocess", "platformdirs"})
    assert modules_after("from nanochat_tui.cli import main\nmain(['train', '--help'])").isdisjoint(HEAVY)


def test_watching_runs_loads_no_heavy_package() -> None:
    code = "import engines.settings.train, engines.events, engines.runs.launch, engines.runs.liveness"
    code += ", engines.runs.reader, engines.generation.client"
    assert modules_after(code).isdisjoint(HEAVY)


def test_a_headless_scalar_run_loads_no_heavy_package(tmp_path: Path) -> None:
    words = ["train", "--steps", "3", "--data", str(write_text(tmp_path)), "--results-dir", str(tmp_path)]
    assert modules_after(f"from nanochat_tui.cli import main\nmain({words!r})").isdisjoint(HEAVY)


def test_a_scalar_worker_loads_no_heavy_package(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
import os, time
from builders import make_run
from engines.training import worker
run = make_run(Path({str(tmp_path)!r}))
lock = os.open(run.lock_path, os.O_RDWR | os.O_CREAT)
worker.main([str(run.path), f"--lock={{lock}}", f"--since={{time.time_ns()}}"])
"""
    assert modules_after(f"sys.path.append('tests')\n{code}").isdisjoint(HEAVY)


def test_sampling_a_scalar_run_loads_no_heavy_package(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    code = f"""
import json
from engines.generation.server import SamplingServer
replies = []
sampler = SamplingServer(replies.append)
sampler.receive(json.dumps({{"id": 1, "checkpoint": {str(get_checkpoint_path(run.checkpoints_dir, 20))!r}}}).encode())
while sampler.is_busy:
    sampler.advance()
assert replies[-1]["kind"] == "done"
"""
    assert modules_after(code).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "sizes",
    [
        {"model_kind": "bigram"},
        {"model_kind": "mini-gpt", "width": 4, "heads": 1},
        {"model_kind": "gpt", "layers": 1, "width": 8, "heads": 2, "context_length": 8, "tokenizer": "char"},
    ],
    ids=lambda sizes: sizes["model_kind"],
)
def test_sampling_a_tensor_model_on_a_cpu_does_not_load_torch(sizes: dict[str, Any], tmp_path: Path) -> None:
    settings = resolve({"mode": "tensor", "device": "cpu", "steps": 1, **sizes})
    state = registry.create_learner(settings, vocab_size=3).state()
    tokenizer = {"kind": "char", "alphabet": "ab"}
    write_checkpoint(tmp_path, 1, Checkpoint(state, tokenizer, dataclasses.asdict(settings), {"step": 1}))
    words = ["sample", str(get_checkpoint_path(tmp_path, 1)), "--device", "cpu"]
    loaded = modules_after(f"from nanochat_tui.cli import main\nmain(['--no-ui', *{words!r}])\nprint()")
    assert "numpy" in loaded and loaded.isdisjoint({"torch", "textual", "rich"})
