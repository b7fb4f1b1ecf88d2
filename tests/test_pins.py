"""tools/check_pins.py: constraints.txt is complete, and every kind of gap in it is reported."""

import runpy
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
CHECK = runpy.run_path(str(ROOT / "tools" / "check_pins.py"))
PYTEST_VERSION = metadata.version("pytest")


def test_constraints_pin_the_project_and_the_pinned_extras() -> None:
    pins = CHECK["read_pins"]((ROOT / "constraints.txt").read_text())
    assert pins["torch"] == "2.13.0" and {"textual", "pytest", "ray", "submitit", "tensorboard", "wandb"} <= set(pins)
    assert not {name for name in pins if name.startswith(("nvidia-cublas", "nvidia-nccl", "triton"))}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("torch>=2.13", "line 1: 'torch>=2.13' is not of the form name==version"),
        ("# a comment\n--index-url https://example.org", "line 2"),
        ("a-b==1\nA_B==2", "a-b is pinned twice"),
    ],
)
def test_a_line_that_is_not_one_pin_is_refused(text: str, error: str) -> None:
    with pytest.raises(CHECK["PinError"], match=error):
        CHECK["read_pins"](text)


@pytest.mark.parametrize(
    ("pins", "problem"),
    [
        ({}, f"pytest is not pinned. Add to constraints.txt: pytest=={PYTEST_VERSION}"),
        ({"pytest": "1.0"}, f"pytest is pinned to 1.0, but {PYTEST_VERSION} is installed"),
    ],
)
def test_a_missing_or_different_pin_is_reported(pins: dict[str, str], problem: str) -> None:
    assert any(problem in found for found in CHECK["find_problems"](pins, [Requirement("pytest>=8")]))


def test_indirect_requirements_count_and_missing_packages_are_reported() -> None:
    problems = "\n".join(CHECK["find_problems"]({}, [Requirement("pytest"), Requirement("no-such-package>=1")]))
    assert "pluggy is not pinned" in problems and "no-such-package is required (no-such-package>=1)" in problems


def test_requirements_of_other_platforms_and_of_torchs_cuda_builds_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    required = {"torch": ["nvidia-cublas==13.0", "filelock"]}
    monkeypatch.setattr(metadata, "requires", lambda name: required.get(name, []))
    requirements = [Requirement("torch"), Requirement("pywin32; sys_platform == 'win32'")]
    assert {name for name, _ in CHECK["installed_closure"](requirements)} == {"torch", "filelock"}
