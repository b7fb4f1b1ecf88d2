"""Queue of a study whose tables cannot be written, because the disk is full."""

import sys
from typing import Any

from engines.ablation import queue, tables
from engines.errors import UserError


def write_file(path: Any, content: str, what: str) -> None:
    raise UserError(f"{what} {path} cannot be written: No space left on device. Choose another path.")


tables.write_file = write_file

if __name__ == "__main__":
    sys.exit(queue.main(sys.argv[1:]))
