"""SIGTERM and SIGINT (Ctrl-C): a worker that receives one saves a checkpoint, records the end of its run, and exits."""

import os
import signal
from collections.abc import Callable
from types import FrameType

from engines.exit_codes import INTERRUPTED, TERMINATED
from engines.training.ending import Ending, StopRequested

ENDINGS = {signal.SIGTERM: Ending("terminated", TERMINATED), signal.SIGINT: Ending("interrupted", INTERRUPTED)}


class StopSignals:
    """The signal handlers of a worker.

    Before training, a signal raises StopRequested in the main thread. During training, the loop ends after the current
    step. While the run is ending, further signals are ignored.
    """

    def __init__(self) -> None:
        self._stop_training: Callable[[Ending], None] | None = None

    def install(self) -> None:
        """Install the handlers. The launcher blocked the signals until now; they stay blocked until `unblock`."""
        for number in ENDINGS:
            signal.signal(number, self._handle)

    def unblock(self) -> None:
        """Deliver signals from now on."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)

    def pass_to(self, stop_training: Callable[[Ending], None]) -> None:
        """Call `stop_training` for later signals."""
        self._stop_training = stop_training

    def ignore(self) -> None:
        """Ignore later signals."""
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        ending = ENDINGS[signal.Signals(number)]
        if self._stop_training is None:
            raise StopRequested(ending)
        self._stop_training(ending)


def terminate_this_process() -> None:
    """Send SIGTERM to this process: for background threads that cannot continue."""
    os.kill(os.getpid(), signal.SIGTERM)
