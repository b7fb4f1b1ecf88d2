"""Command line: parse the global options, then print help, open the dashboard or run a headless command.

The parser and the code of a command are imported when they are needed, so that --help answers at once.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from engines import __version__
from engines.errors import SettingsError, UserError
from engines.exit_codes import BROKEN_PIPE, FAILURE, INTERRUPTED, TERMINATED, USAGE_ERROR
from engines.files import format_os_error
from engines.settings.fields import format_bad_value
from nanochat_tui.commands import COMMANDS, PROGRAM, Options
from nanochat_tui.streams import OutputError, flush_streams, visible_streams

_GLOBAL_OPTIONS = {"--no-ui", "--json", "--readonly", "--ascii", "--user-config"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. No exception leaves it, and no traceback is printed."""
    words = list(sys.argv[1:] if argv is None else argv)
    with visible_streams(), _termination_as_exception():
        try:
            code = _run_and_report_errors(words)
            if error := flush_streams():
                raise error
            return code
        except BrokenPipeError:  # stdout was closed; runs that were started continue
            flush_streams()
            return BROKEN_PIPE
        except OSError as error:
            flush_streams()
            with contextlib.suppress(OSError):
                print(f"{_command_name(words)} failed: cannot write output: {format_os_error(error)}.", file=sys.stderr)
            flush_streams()
            return FAILURE


def _run_and_report_errors(words: list[str]) -> int:
    """Run a command; on failure print one sentence and return the exit code that stands for the error."""
    name = _command_name(words)
    try:
        return _dispatch(words)
    except SettingsError as error:
        for problem in error.problems:
            print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return USAGE_ERROR
    except UserError as error:
        print(f"{name} failed: {error}", file=sys.stderr)
    except KeyboardInterrupt as interruption:
        print(f"{name} {str(interruption) or 'interrupted'}", file=sys.stderr)
        return TERMINATED if isinstance(interruption, _Terminated) else INTERRUPTED
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:  # not reported closer to its cause
        file = f"{error.filename}: " if error.filename else ""
        print(f"{name} failed: {file}{format_os_error(error)}.", file=sys.stderr)
    except Exception as error:
        from engines.output.crash_log import describe_crash

        print(f"{name} failed: {describe_crash(error, 'command')}", file=sys.stderr)
    return FAILURE


def _command_name(words: list[str]) -> str:
    return next((word for word in words if word in COMMANDS), PROGRAM)


class _Terminated(KeyboardInterrupt):
    """SIGTERM was received. It is handled like Ctrl-C: partial files and child processes are removed."""


@contextlib.contextmanager
def _termination_as_exception() -> Iterator[None]:
    """Raise `_Terminated` on SIGTERM, unless SIGTERM has another handler or this is not the main thread."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def terminate(number: int, frame: object) -> None:
        raise _Terminated("terminated")

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _dispatch(words: list[str]) -> int:
    """Print help or the version, open the dashboard, or run a command."""
    words, global_options = _split_global_options(words)
    if not words:
        return _open_dashboard_or_print_help(global_options)
    name = words[0]
    if name in ("-h", "--help", "help"):
        _print_help()
        return 0
    if name in ("-V", "--version"):
        print(f"{PROGRAM} {__version__}")
        return 0
    if name not in COMMANDS:
        raise SettingsError([_describe_unknown_word(name)])
    from nanochat_tui import parser

    if words[1:] and words[1] in ("-h", "--help"):
        print(parser.command_help(name))
        return 0
    options = parser.parse(name, words[1:], "--json" in global_options)
    if "--readonly" in global_options:
        _require_read_only(name, options)
    if "--user-config" in global_options:
        from engines.settings.user_config import read_user_config

        options = options._replace(user_config=read_user_config())
    return _run_command(name, options, global_options)


def _describe_unknown_word(word: str) -> str:
    """Return a sentence about a first word that is neither a command nor a global option."""
    if word.startswith("-"):
        known = ", ".join(sorted(_GLOBAL_OPTIONS))
        return f"unknown option {format_bad_value(word)} before the command; global options: {known}."
    return f"unknown command {format_bad_value(word)}; available commands: {', '.join(COMMANDS)}."


def _run_command(name: str, options: Options, global_options: set[str]) -> int:
    """Open the dashboard on a command, or run it headless where the dashboard is not wanted or not available."""
    if "--no-ui" not in global_options:
        from nanochat_tui import dashboard

        reason = dashboard.reason_for_headless(name, options)
        if reason is None:
            return dashboard.open_dashboard(name, options, "--readonly" in global_options, "--ascii" in global_options)
        if reason and (sys.stdout.isatty() or sys.stderr.isatty()):
            print(f"The dashboard is not available: {reason}. Continuing as with --no-ui.", file=sys.stderr)
    return load_command(name)(options)


def _require_read_only(name: str, options: Options) -> None:
    """Raise SettingsError if a command would start, change, delete or write something."""
    command = COMMANDS[name]
    if not command.is_read_only:
        available = ", ".join(name for name, command in COMMANDS.items() if command.is_read_only)
        raise SettingsError(
            [
                f"{name} is not available with --readonly, which starts, changes and writes nothing; "
                f"available: {available}."
            ]
        )
    if options.arguments.get(command.output_option):
        raise SettingsError(
            [f"{name} --{command.output_option} is not available with --readonly, which writes nothing."]
        )


def _open_dashboard_or_print_help(global_options: set[str]) -> int:
    """Open the dashboard; where it is not available, print the help and the reason on stderr."""
    from nanochat_tui import dashboard

    reason = "--no-ui needs a command" if "--no-ui" in global_options else dashboard.reason_for_headless("", None)
    if reason is None:
        return dashboard.open_dashboard("", None, "--readonly" in global_options, "--ascii" in global_options)
    _print_help(sys.stderr)
    print(f"\nThe dashboard is not available: {reason}.", file=sys.stderr)
    return USAGE_ERROR


def _split_global_options(words: list[str]) -> tuple[list[str], set[str]]:
    """Separate the options of all commands, which may be anywhere before `--`, from the other words."""
    end = words.index("--") if "--" in words else len(words)
    others = [word for word in words[:end] if word not in _GLOBAL_OPTIONS]
    return others + words[end + 1 :], _GLOBAL_OPTIONS.intersection(words[:end])


def load_command(name: str) -> Callable[[Options], int]:
    """Import and return the function that runs a headless command."""
    import importlib

    module = importlib.import_module(f"nanochat_tui.headless.{COMMANDS[name].module or name}")
    command: Callable[[Options], int] = getattr(module, name)
    return command


def _print_help(stream: TextIO | None = None) -> None:
    from nanochat_tui.help import render_help

    print(render_help(), file=stream)
