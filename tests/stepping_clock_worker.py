"""A worker whose wall clock jumps: CLOCK_STEPS lists seconds, one of which is added at every hundredth look at it."""

import os
import sys
import time

from engines.training import worker

_jumps = [float(word) for word in os.environ["CLOCK_STEPS"].split(",")]
_real_time = time.time
_looks = 0


def stepping_time() -> float:
    """Return the real time, moved by the jumps that are due."""
    global _looks
    _looks += 1
    return _real_time() + sum(_jumps[: _looks // 100])


time.time = stepping_time

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))
