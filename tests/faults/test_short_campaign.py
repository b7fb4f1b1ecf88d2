"""The short form of the fault campaign: a few cases of every part; `make faults` runs all of them."""

import os
import random
from pathlib import Path

import pytest

from faults import campaign, command_lines
from faults.child import write_guard
from faults.generated import generated
from faults.sandbox import sandbox

SHORT = {
    "kills": 4, "damage": 8, "disk": 6, "command-lines": 500, "processes": 10, "files": 60, "keys": 150, "streams": 3,
}  # fmt: skip


@pytest.mark.parametrize("name", SHORT)
def test_the_guarantee_holds_for_a_few_cases(name: str) -> None:
    tally = campaign.run_part(name, SHORT[name], 0, lambda line: None)
    assert tally.cases >= SHORT[name]
    assert tally.violations == []


def test_the_campaign_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    inside: list[BaseException] = []
    with sandbox() as folder:
        (folder / "mine").write_text("written")
        for change in (
            lambda: victim.write_text("gone"),
            victim.unlink,
            lambda: os.replace(folder / "mine", victim),
            lambda: os.truncate(victim, 0),
            lambda: (tmp_path / "new").mkdir(),
            lambda: (folder / "link").symlink_to(victim) or (folder / "link").write_text("gone"),
        ):
            try:
                change()
            except write_guard.WriteOutsideFolder as stopped:
                inside.append(stopped)
    assert len(inside) == 6
    assert victim.read_text() == "kept" and list(tmp_path.iterdir()) == [victim]
    victim.write_text("the restriction ends with the sandbox")


def test_the_same_seed_gives_the_same_cases() -> None:
    first, second, other = (
        generated(random.Random(seed), command_lines.command_lines(), 200) for seed in ("same", "same", "other")
    )
    assert first == second != other and len(first) > 100
