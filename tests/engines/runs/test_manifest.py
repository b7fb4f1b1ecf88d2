"""The description of the code in a manifest."""

import subprocess
from pathlib import Path

import pytest

from engines.runs import manifest


def git(folder: Path, *words: str) -> str:
    expected = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, capture_output=True, check=True
    )
    return expected.stdout.decode().strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a commit."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    git(checkout, "init", "--quiet")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "first")
    return checkout


def test_the_commit_is_that_of_git_in_a_checkout_a_worktree_and_without_a_branch(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worktree = checkout.parent / "worktree"
    git(checkout, "worktree", "add", "--quiet", "-b", "other", str(worktree))
    git(worktree, "commit", "--quiet", "--allow-empty", "--message", "second")
    apart = checkout.parent / "apart"
    git(checkout, "worktree", "add", "--quiet", "--detach", str(apart))
    for folder in (checkout, worktree, apart):
        monkeypatch.setattr(manifest, "_ROOT", folder)
        assert manifest.describe_code()["commit"] == git(folder, "rev-parse", "HEAD")
    git(checkout, "pack-refs", "--all")
    for folder in (checkout, worktree):
        monkeypatch.setattr(manifest, "_ROOT", folder)
        assert manifest.describe_code()["commit"] == git(folder, "rev-parse", "HEAD")


def test_code_outside_a_checkout_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_ROOT", tmp_path)
    assert manifest.describe_code()["commit"] is None
