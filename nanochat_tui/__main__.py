"""The entry point of `python -m nanochat_tui` and of the installed script.

It imports nothing before it handles Ctrl-C: importing the rest takes a moment.
"""

import signal
import sys


def main() -> int:
    """Run the command line, and return the exit code."""
    try:
        from nanochat_tui.cli import main as run

        return run()
    except KeyboardInterrupt:  # before the command line could handle it
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # from here on the interpreter exits, without a traceback
        exec("")  # resets a flag of CPython: after an interrupt inside another exec it would exit by a signal


if __name__ == "__main__":
    sys.exit(main())
