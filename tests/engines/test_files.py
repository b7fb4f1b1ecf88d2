"""Files of the user: only regular files are replaced, and every failure is one sentence."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from engines.errors import UserError
from engines.files import make_directory, open_file, read_file, user_path, write_file


def read_all(path: Path, into: list[bytes]) -> threading.Thread:
    reader = threading.Thread(target=lambda: into.append(path.read_bytes()), daemon=True)
    reader.start()
    return reader


def test_a_new_file_and_its_folders_are_created(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "page.html"
    write_file(path, "naïve \ud800", "report")
    assert path.read_bytes() == b"na\xc3\xafve \\ud800"
    assert [each.name for each in path.parent.iterdir()] == ["page.html"], "a partial file is left"


def test_a_regular_file_is_replaced_atomically_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    path.chmod(0o640)
    with path.open() as reader:
        write_file(path, "new", "report")
        assert reader.read() == "old", "a reader saw a file that was half written"
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_symbolic_link_is_followed_and_stays(tmp_path: Path) -> None:
    target, link, dangling = tmp_path / "folder" / "target", tmp_path / "link", tmp_path / "dangling"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "folder" / "later")
    for path in (link, dangling):
        write_file(path, "new", "report")
        assert path.is_symlink() and path.read_text() == "new"


def test_a_fifo_is_written_to_and_stays(tmp_path: Path) -> None:
    fifo, received = tmp_path / "fifo", []
    os.mkfifo(fifo)
    with pytest.raises(UserError, match="no process reads from it"):
        write_file(fifo, b"x", "report")
    keep_open = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # else the writer could come before the reader
    reader = read_all(fifo, received)
    write_file(fifo, b"x" * 200_000, "report")  # more than a pipe holds: it returns after it was read
    reader.join(20)
    os.close(keep_open)
    assert received == [b"x" * 200_000] and stat.S_ISFIFO(fifo.lstat().st_mode)


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    controller, terminal = os.openpty()
    path = tmp_path / "device"
    path.symlink_to(os.ttyname(terminal))
    write_file(path, b"hello", "report")
    assert os.read(controller, 5) == b"hello" and path.is_symlink() and path.is_char_device()
    os.close(controller)
    os.close(terminal)


def test_directories_and_sockets_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=rf"^report {tmp_path} cannot be written: it is a directory\. Name a file in it\.$"
    ):
        write_file(tmp_path, "x", "report")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path := tmp_path / "s"))
        with pytest.raises(UserError, match="not a regular file"):
            write_file(path, "x", "report")
        assert path.is_socket()


@pytest.mark.parametrize("name", ["file/below", "x" * 300, "nul\0", "surrogate\ud800", "loop"])
def test_a_path_that_cannot_be_opened_is_an_error_of_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for act in (lambda path: write_file(path, "x", "page"), lambda path: read_file(path, "page"),
                lambda path: open_file(path, "page"), lambda path: make_directory(path / "d", "page")):  # fmt: skip
        with pytest.raises(UserError) as caught:
            act(tmp_path / name)
        assert str(caught.value).startswith("page ") and "cannot be" in str(caught.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "loop"]


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(UserError, match="Permission denied"):
        write_file(path, "new", "report")
    assert path.read_text() == "old"


def test_an_unreadable_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^config file .*/none\.toml cannot be read: not found\.$"):
        read_file(tmp_path / "none.toml", "config file")
    with pytest.raises(UserError, match="it is a directory"):
        read_file(tmp_path, "config file")


def test_a_typed_path_is_expanded_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_path("~/a", "report") == Path.home() / "a"
    with pytest.raises(UserError, match="the path of the report is empty"):
        user_path("", "report")
    with pytest.raises(UserError, match="unknown user in ~nosuchuser"):
        user_path("~nosuchuser/a", "report")
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UserError, match="the working directory is gone"):
        user_path("a", "report")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\0b", "a character that is not allowed in file names"), ("x" * 5000, "File name too long"),
        ("~nosuchuser/x", "unknown user"), ("loop", "symbolic links"), (" ", "is empty"),
    ],
)  # fmt: skip
def test_an_impossible_path_is_an_error_of_one_sentence(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    if text == "loop":
        text = "loop/x"
    with pytest.raises(UserError, match=reason):
        user_path(text, "results directory")
    assert user_path("none/x", "results directory") == tmp_path / "none" / "x"


def test_a_fifo_without_a_writer_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.files._FIFO_TIMEOUT", 0.01)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match="no process writes to it"):
        read_file(tmp_path / "fifo", "config file")


def test_a_file_longer_than_the_limit_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 11)
    assert len(read_file(tmp_path / "file", "config file", 11)) == 11
    with pytest.raises(UserError, match="larger than 10 bytes"):
        read_file(tmp_path / "file", "config file", 10)
    with pytest.raises(UserError, match="larger than 10 bytes"):
        read_file(Path("/dev/zero"), "config file", 10)
