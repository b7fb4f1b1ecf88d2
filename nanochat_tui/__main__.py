"""Entry point of `python -m nanochat_tui` and of the installed script.

Nothing else is imported before Ctrl-C is handled, because importing the rest takes a moment.
"""

import signal
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from nanochat_tui.import_check import describe_hidden_package

        if problem := describe_hidden_package():
            print(f"nanochat-tui failed: {problem}", file=sys.stderr)
            return 1
        from nanochat_tui.cli import main as run_command_line

        return run_command_line()
    except KeyboardInterrupt:  # before the command line could handle it
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter now exits without a traceback
        exec("")  # resets a flag of CPython: after an interrupt inside another exec it would exit by a signal


if __name__ == "__main__":
    sys.exit(main())
