"""A worker whose wall clock jumps: CLOCK_STEPS lists seconds; one more is added after every hundred reads."""

import os
import sys
import time

from engines.training import worker

_jumps = [float(word) for word in os.environ["CLOCK_STEPS"].split(",")]
_real_time = time.time
_reads = 0


def stepping_time() -> float:
    """Return the real time, moved by the jumps that are due."""
    global _reads
    _reads += 1
    return _real_time() + sum(_jumps[: _reads // 100])


time.time = stepping_time

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))
