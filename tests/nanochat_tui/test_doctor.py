"""doctor: one line per check, an exit code for scripts, and no check that stops the others."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import pretend_gpus
from fake_nvml import MIB, FakeGpu

from engines.errors import UserError
from engines.system.doctor import FAIL, OK, WARN, Check, Probe, list_checks, run_check, run_probe
from nanochat_tui.headless.doctor import print_findings

GOOD = Check("good", lambda: (OK, "it works"))
DOUBTFUL = Check("doubtful", lambda: (WARN, "fix it"))
BAD = Check("bad", lambda: (FAIL, "it is broken"))
NOT_HERE = Check("not here", lambda: None)


def breaks() -> None:
    raise ZeroDivisionError("by zero")


def refuses() -> None:
    raise UserError("no GPU here; use another.")


def probe_here(question: str, device: str) -> dict[str, Any]:
    """Answer a question about torch in this process, which has imported it: another process takes seconds to do so."""
    from engines.tensor import probe

    answer: dict[str, Any] = getattr(probe, question)(device)
    return answer


def check(name: str, results: Path, device: str = "auto", probe: Probe = probe_here) -> Check:
    return next(check for check in list_checks(results, device, probe) if check.name == name)


def found(name: str, results: Path, device: str = "auto", probe: Probe = probe_here) -> tuple[str, str]:
    finding = run_check(check(name, results, device, probe))
    assert finding is not None and finding.check == name
    return finding.status, finding.detail


@pytest.mark.parametrize(
    ("todo", "code"), [([GOOD], 0), ([GOOD, DOUBTFUL, NOT_HERE], 0), ([GOOD, BAD, GOOD], 1), ([], 0)]
)
def test_only_a_failed_check_makes_the_exit_code_1(todo: list[Check], code: int) -> None:
    assert print_findings(todo, as_json=False) == print_findings(todo, as_json=True) == code


def test_each_check_is_one_line_with_symbol_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings([GOOD, NOT_HERE, DOUBTFUL, BAD], as_json=False)
    out, err = capsys.readouterr()
    words = [line.split()[:3] for line in out.splitlines()]
    assert words == [["✔", "OK", "good"], ["▲", "WARN", "doubtful"], ["✖", "FAIL", "bad"]]
    assert [f"checking {name} ..." in err for name in ("good", "not here", "bad")] == [True] * 3


def test_json_is_a_list_of_findings(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings([GOOD, NOT_HERE, BAD], as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"check": "good", "status": "ok", "detail": "it works"},
        {"check": "bad", "status": "fail", "detail": "it is broken"},
    ]


def test_a_check_that_raises_is_a_failure_and_the_others_continue(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_findings([Check("broken", breaks), Check("refused", refuses), GOOD], as_json=False) == 1
    broken, refused, good = capsys.readouterr().out.splitlines()
    assert "ZeroDivisionError: by zero" in broken and refused.endswith("no GPU here; use another.") and "OK" in good


def test_training_works_here(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By the processes that the command starts. All checks but the one that compiles, which takes half a minute."""
    todo = [check for check in list_checks(tmp_path, "cpu") if check.name != "torch.compile"]
    assert print_findings(todo, as_json=True) == 0
    findings = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert {"python", "machine", "disk", "textual", "torch", "training on cpu"} <= set(findings)
    assert "loss 4." in findings["training on cpu"]["detail"] and "gpu" not in findings


def test_missing_devices_are_checked_only_on_request(tmp_path: Path) -> None:
    names = [check.name for check in list_checks(tmp_path)]
    assert [f"training on {name}" in names for name in ("cpu", "cuda", "mps")] == [True] * 3
    assert "training on cpu" not in [check.name for check in list_checks(tmp_path, "cuda")]
    torch = pytest.importorskip("torch")
    if not torch.backends.mps.is_available():
        assert run_check(check("training on mps", tmp_path)) is None
        status, detail = found("training on mps", tmp_path, "mps")
        assert status == FAIL and "torch finds no Metal GPU" in detail


def test_a_missing_torch_is_reported_once_with_what_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    status, detail = found("torch", tmp_path)
    assert status == FAIL and "only --mode scalar works" in detail and "pip install torch" in detail
    assert run_check(check("torch.compile", tmp_path)) is None and run_check(check("training on cpu", tmp_path)) is None


@pytest.mark.parametrize("package", ["rustbpe", "tiktoken", "zstandard", "pyarrow", "textual"])
def test_a_missing_package_is_reported_with_its_purpose(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    status, detail = found(package, tmp_path)
    assert status == WARN and detail.startswith("not installed; it ") and detail.endswith(f"pip install {package}")


def test_a_missing_compiler_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    status, detail = found("compiler", tmp_path)
    assert status == WARN and "no C++ compiler" in detail
    assert run_check(check("torch.compile", tmp_path, "cpu")) is None
    (tmp_path / "broken").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "broken").chmod(0o755)
    monkeypatch.setenv("CXX", "broken")
    assert found("compiler", tmp_path) == (
        WARN,
        f"{tmp_path / 'broken'} does not work; --compile on needs a C++ compiler, --compile off does not",
    )


@pytest.mark.parametrize(("supported", "status"), [(["3.6", "3.7"], WARN), ([], OK)])
def test_an_unsupported_triton_is_reported(
    supported: list[str], status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = {"gpus": ["NVIDIA H200"], "mps": False, "triton": True, "wanted_tritons": supported}
    answers = {"report": report, "compiles": {"seconds": 3}}
    monkeypatch.setattr("engines.system.doctor._check_compiler", lambda: (OK, "g++"))
    actual, detail = found("torch.compile", tmp_path, "cuda", lambda question, device: answers[question])
    assert actual == status and detail.startswith("works on cuda") and ("3.6 or 3.7" in detail) == bool(supported)


def test_a_missing_cudnn_frontend_is_reported_with_its_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "nvidia-cudnn-frontend"
    pretend_gpus(monkeypatch)
    assert run_check(check(name, tmp_path)) is None
    pretend_gpus(monkeypatch, FakeGpu())
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setitem(sys.modules, "cudnn", None)
    status, detail = found(name, tmp_path)
    assert status == WARN and "sliding-window attention" in detail and f"pip install '{name}<1.30'" in detail


@pytest.mark.parametrize(
    ("listed_gpus", "device", "status", "words"),
    [
        ((), "auto", OK, "no NVIDIA GPU"),
        ((), "cuda", FAIL, "no NVIDIA GPU"),
        ((FakeGpu(),), "auto", OK, "NVIDIA H200 with 139.8 GiB of 140.4 GiB free"),
        ((FakeGpu(free=20000 * MIB),), "auto", WARN, "another process uses"),
    ],
)
def test_gpus_are_reported_with_their_memory(
    listed_gpus: tuple[FakeGpu, ...],
    device: str,
    status: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_gpus(monkeypatch, *listed_gpus)
    actual, detail = found("gpu", tmp_path, device)
    assert actual == status and words in detail


def test_a_gpu_that_torch_does_not_see_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    pretend_gpus(monkeypatch, FakeGpu())
    status, detail = found("torch", tmp_path)
    assert status == WARN and "the driver reports NVIDIA H200" in detail


def test_the_results_directory_need_not_exist_and_is_not_created(tmp_path: Path) -> None:
    results = tmp_path / "not" / "yet"
    status, detail = found("disk", results)
    assert status in (OK, WARN) and str(results) in detail and not results.exists()


def test_a_probe_that_hangs_or_fails_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"no answer within 0 s"):
        run_probe("report", seconds=0.01)
    with pytest.raises(UserError, match=r"--device must be one of"):
        run_probe("train", "abacus")
    probe = pytest.importorskip("engines.tensor.probe")
    assert probe.main("joke") == 1 and capsys.readouterr().err == "KeyError: 'joke'\n"
