"""What is read of a processor's description."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import processor


@pytest.fixture(autouse=True)
def unread() -> Iterator[None]:
    processor._told.cache_clear()
    yield
    processor._told.cache_clear()


def describe(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> None:
    path.write_text(text)
    monkeypatch.setattr(processor, "_DESCRIPTION", path)


@pytest.mark.parametrize(
    ("flags", "multiplies"), [("fpu avx512_bf16 amx_tile", True), ("fpu avx512f", False), ("", False)]
)
def test_flags_tell_whether_it_multiplies_bfloat16(
    flags: str, multiplies: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    core = f"processor\t: 0\nmodel name\t: Some Processor: v2\nflags\t\t: {flags}\n\n"
    describe(monkeypatch, tmp_path / "cpuinfo", core + core.replace("Some", "Other"))
    assert processor.name() == "Some Processor: v2" and processor.multiplies_bfloat16() == multiplies


def test_without_a_description_there_is_a_name_and_no_bfloat16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processor, "_DESCRIPTION", tmp_path / "none")
    assert processor.name() and not processor.multiplies_bfloat16()
