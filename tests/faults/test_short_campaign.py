"""The short form of the fault campaign: a few cases of every part; `make faults` tries them all."""

import os
from pathlib import Path

import pytest

from faults import campaign
from faults.child import write_guard
from faults.sandbox import call, sandbox

SHORT = {
    "kills": 4, "damage": 12, "disk": 6, "command-lines": 500, "processes": 10, "files": 60, "keys": 300, "streams": 3,
}  # fmt: skip


@pytest.mark.parametrize("name", campaign.NAMES)
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


def test_a_unit_of_the_same_seed_is_the_same_again() -> None:
    seen: list[list[str]] = []
    for _ in range(2):
        with sandbox() as folder:
            from faults import command_lines

            lines: list[str] = []
            place = command_lines.prepare(folder)
            judged = command_lines.judge
            command_lines.judge = lambda words, done: lines.append(repr(words)) or judged(words, done)  # type: ignore[func-returns-value]
            command_lines.one_unit(command_lines.random.Random("same"), 0, folder)
            command_lines.judge = judged
            assert place.exists() and call("--version").code == 0
        seen.append(lines)
    assert seen[0] == seen[1] and len(seen[0]) > 100
