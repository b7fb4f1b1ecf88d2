"""A worker whose disk is full from the n-th write to a place, according to `FULL_AT=<place>:<n>`.

Places: `event` (a write of the event log), `json` (config.json with the facts first, then summary.json), `checkpoint`.
"""

import errno
import os
import sys
from typing import Any

from engines.checkpoints import files
from engines.runs import checked_json, log
from engines.training import worker

_place, _, _number = os.environ["FULL_AT"].partition(":")
_left = int(_number)


def fill_up(place: str) -> None:
    global _left
    if place == _place:
        _left -= 1
        if _left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_write_all, _write_json, _write_file = log._write_all, checked_json.write_json, files._write_file


def write_all(*arguments: Any) -> None:
    fill_up("event")
    _write_all(*arguments)


def write_json(*arguments: Any) -> None:
    fill_up("json")
    _write_json(*arguments)


def write_file(*arguments: Any) -> str:
    fill_up("checkpoint")
    return _write_file(*arguments)


log._write_all, checked_json.write_json, files._write_file = write_all, write_json, write_file

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))
