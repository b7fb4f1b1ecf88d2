"""Select the files of --data and --val-data. Imports little: a missing file is reported before anything starts."""

import fnmatch
import glob
import os
import stat
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from engines.errors import UserError
from engines.files import format_os_error
from engines.settings.train import BUILT_IN_CORPORA

COMPRESSIONS = (".gz", ".xz", ".zst")
FORMATS = (".txt", ".jsonl", ".ndjson", ".parquet")  # read from a folder
_ONLY_IF_NAMED = ".json"  # in a folder it is often metadata
_NOT_REGULAR = "not regular files"
_MAX_REASONS = 5  # in a sentence
_MAX_SUFFIX_LENGTH = 12  # a longer one is not a file format


class Selection(NamedTuple):
    """The files that one setting names, in a fixed order, and the number of skipped files by reason."""

    data: str  # as given
    files: list[Path]
    skipped: dict[str, int]
    is_single: bool  # a file was named, not a folder or a pattern

    def describe(self, flag: str) -> str:
        """Return a sentence with the number of used files, and of skipped files by reason."""
        used = f"{flag} {self.data}: {_count_files(len(self.files))} used"
        return f"{used}, {_describe_skipped(self.data, self.skipped)}" if self.skipped else f"{used}."


def select_train_and_val(data: str, val_data: str | None) -> tuple[Selection | None, Selection | None]:
    """Return the selections of --data and --val-data; None for a built-in corpus or no --val-data.

    A file that both name is left out of the side that names it by a folder or pattern; of --data if both do. Raises
    UserError if there are no files, or none is left.
    """
    train = None if data in BUILT_IN_CORPORA else select_files(data)
    val = None if not val_data or val_data in BUILT_IN_CORPORA else select_files(val_data, "--val-data")
    if not train or not val:
        return train, val
    both = _identities(train.files).keys() & _identities(val.files).keys()
    if not both:
        return train, val
    if train.is_single and not val.is_single:
        kept = _leave_out(val, both, "given as --data")
        sides = (train, kept)
    else:
        kept = _leave_out(train, both, "given as --val-data")
        sides = (kept, val)
    if not kept.files:
        raise UserError(
            f"--val-data {val_data} names the same files as --data {data}: the validation loss would be "
            "measured on training text. Give other text, or omit --val-data to hold out a tenth of --data."
        )
    return sides


def describe_selections(train: Selection | None, val: Selection | None) -> list[str]:
    """Return a sentence about the files of each side that is a folder or a pattern."""
    sides = ((train, "--data"), (val, "--val-data"))
    return [side.describe(flag) for side, flag in sides if side and not side.is_single]


def find_files(data: str) -> list[Path]:
    """Return the files of a path, folder or pattern, in a fixed order. Raises UserError if there are none."""
    return select_files(data).files


def select_files(data: str, flag: str = "--data") -> Selection:
    """Select the files of a path, folder or pattern. Raises UserError, naming the setting `flag`, if there are none."""
    try:
        path = Path(data).expanduser()
        kind = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _select_by_pattern(data, path, flag)
    except RuntimeError:
        raise UserError(f"{flag} {data[:60]!r} cannot be found: unknown user in {Path(data).parts[0]}.") from None
    except (OSError, ValueError) as error:  # such as a name too long for any file
        raise UserError(f"{flag} {data[:60]!r} cannot be found: {format_os_error(error)}.") from None
    if stat.S_ISDIR(kind):
        return _select_from_folder(data, path, flag)
    if not stat.S_ISREG(kind):
        raise UserError(f"{flag} {data} is not a regular file. Write the text to a file: it is read repeatedly.")
    return Selection(data, [path], {}, is_single=True)


def detect_format(path: Path) -> str:
    """Return one of FORMATS or .json, without the compression; any other suffix counts as .txt."""
    suffix = _format_suffix(path)
    return suffix if suffix in (*FORMATS, _ONLY_IF_NAMED) else ".txt"


def detect_compression(path: Path) -> str:
    """Return one of COMPRESSIONS, or an empty string."""
    suffix = path.suffix.lower()
    return suffix if suffix in COMPRESSIONS else ""


def _format_suffix(path: Path) -> str:
    """Return the last suffix that does not name a compression, in lower case."""
    suffixes = (suffix.lower() for suffix in reversed(path.suffixes))
    return next((suffix for suffix in suffixes if suffix not in COMPRESSIONS), "")


# --- folders and patterns -------------------------------------------------------------------------


def _select_from_folder(data: str, folder: Path, flag: str) -> Selection:
    skipped: Counter[str] = Counter()
    found = []
    for path in _walk(folder, skipped):
        if (suffix := _format_suffix(path)) in FORMATS:
            found.append(path)
        else:
            skipped[_format_skipped_suffix(suffix)] += 1
    files = _keep_regular_files(found, skipped)
    if not files:
        expected = "a folder without .txt, .jsonl, .ndjson or .parquet files"
        raise UserError(f"{flag} {data} is {expected}: {_describe_skipped(data, skipped)}")
    return Selection(data, files, dict(skipped), is_single=False)


def _format_skipped_suffix(suffix: str) -> str:
    if not suffix:
        return "without a suffix"
    return suffix if len(suffix) <= _MAX_SUFFIX_LENGTH and suffix[1:].isalnum() else "with other suffixes"


def _select_by_pattern(data: str, path: Path, flag: str) -> Selection:
    skipped: Counter[str] = Counter()
    files = _keep_regular_files(_expand_pattern(path, skipped), skipped)
    if not files:
        built_in = ", ".join(BUILT_IN_CORPORA)
        raise UserError(f"{flag} {data} does not exist. Give a file, a folder, a glob or one of {built_in}.")
    return Selection(data, files, dict(skipped), is_single=False)


def _expand_pattern(pattern: Path, skipped: Counter[str]) -> Iterator[Path]:
    """Yield paths like `glob.glob(recursive=True)`, but follow links that form a cycle only once."""
    parts = pattern.parts
    if "**" not in parts:
        yield from (Path(name) for name in glob.glob(str(pattern)) if not os.path.isdir(name))
        return
    first = parts.index("**")
    for root in glob.glob(str(Path(*parts[:first]))):
        for path in _walk(Path(root), skipped):
            if _matches_pattern(path.relative_to(root).parts, parts[first:]):
                yield path


def _matches_pattern(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a path match a pattern; hidden names match only a pattern that begins with a dot."""
    if not pattern or not parts:
        return not parts and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return _matches_pattern(parts, pattern[1:]) or (
            not parts[0].startswith(".") and _matches_pattern(parts[1:], pattern)
        )
    is_hidden = parts[0].startswith(".") and not pattern[0].startswith(".")
    return not is_hidden and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches_pattern(parts[1:], pattern[1:])


def _walk(folder: Path, skipped: Counter[str]) -> Iterator[Path]:
    """Yield everything below a folder except folders. Links to folders are followed, each folder is read once."""
    pending, seen = deque([folder]), set()
    while pending:
        current = pending.popleft()
        try:
            identity = _identity(os.stat(current))
            entries = sorted(os.scandir(current), key=lambda entry: entry.name) if identity not in seen else []
        except OSError:
            skipped["folders that cannot be read"] += 1
            continue
        seen.add(identity)
        for entry in entries:
            path = current / entry.name
            if entry.is_dir(follow_symlinks=False):
                pending.appendleft(path)
            elif entry.is_symlink() and os.path.isdir(path):
                pending.append(path)  # after all folders that are reached without a link
            else:
                yield path


def _keep_regular_files(paths: Iterator[Path] | list[Path], skipped: Counter[str]) -> list[Path]:
    """Return the regular files among paths, sorted; each once, by a name that is not a link if there is one."""
    files: dict[tuple[int, int], Path] = {}
    for path in sorted(paths, key=lambda path: (path.is_symlink(), path)):
        try:
            status = os.stat(path)
        except OSError:
            skipped["broken links"] += 1
            continue
        if not stat.S_ISREG(status.st_mode):
            skipped[_NOT_REGULAR] += 1
        elif files.setdefault(_identity(status), path) is not path:
            skipped["duplicate names of used files"] += 1
    return sorted(files.values())


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _identities(paths: list[Path]) -> dict[tuple[int, int], Path]:
    """Return paths by device and inode."""
    found = {}
    for path in paths:
        try:
            found[_identity(os.stat(path))] = path
        except OSError:  # deleted meanwhile, which reading it reports
            continue
    return found


def _leave_out(selection: Selection, identities: set[tuple[int, int]], reason: str) -> Selection:
    left_out = {path for identity, path in _identities(selection.files).items() if identity in identities}
    files = [path for path in selection.files if path not in left_out]
    return selection._replace(files=files, skipped={**selection.skipped, reason: len(left_out)})


def _count_files(files: int) -> str:
    return f"{files:,} {'file' if files == 1 else 'files'}"


def _describe_skipped(data: str, skipped: dict[str, int]) -> str:
    ordered = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in ordered[:_MAX_REASONS])
    more = ", …" if len(ordered) > _MAX_REASONS else ""
    sentence = f"{sum(skipped.values()):,} skipped ({reasons}{more})." if skipped else "it is empty."
    suffix = next((reason for reason, _ in ordered if reason.startswith(".")), None)
    return f"{sentence} Read other text files by a pattern: '{data.rstrip('/')}/**/*{suffix}'." if suffix else sentence
