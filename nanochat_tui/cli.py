"""The command line: takes the options of every command, prints the help, and dispatches the rest.

Light on purpose: a command's work, and even its parser, is imported when it is chosen, so that --help answers at once.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from engines import __version__
from engines.ablation.settings import StudySettings
from engines.errors import SettingsError, UserError
from engines.files import reason_of
from engines.settings.fields import fields, shown, shown_default
from engines.settings.sample import SampleSettings
from engines.settings.train import TrainSettings
from nanochat_tui.commands import COMMANDS, PROGRAM, Options
from nanochat_tui.streams import OutputError, flush_streams, visible_streams

USAGE_ERROR, INTERRUPTED, TERMINATED = 2, 130, 143
_BROKEN_PIPE = 141  # as of a process that SIGPIPE ended
_GLOBALS = {"--no-ui", "--json", "--readonly", "--ascii"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit code. No exception leaves it, and no traceback is printed."""
    words = list(sys.argv[1:] if argv is None else argv)
    with visible_streams(), _termination_as_exception():
        try:
            code = _reported(words)
            if problem := flush_streams():
                raise problem
            return code
        except BrokenPipeError:  # stdout was closed: runs that were started continue
            flush_streams()
            return _BROKEN_PIPE
        except OSError as error:
            flush_streams()
            with contextlib.suppress(OSError):
                print(f"{_name(words)} failed: its output cannot be written: {reason_of(error)}.", file=sys.stderr)
            flush_streams()
            return 1


def _reported(words: list[str]) -> int:
    """Run a command and report in one sentence why it failed."""
    try:
        return _dispatch(words)
    except SettingsError as error:
        for problem in error.problems:
            print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return USAGE_ERROR
    except UserError as error:
        print(f"{_name(words)} failed: {error}", file=sys.stderr)
    except KeyboardInterrupt as interruption:
        print(f"{_name(words)} {str(interruption) or 'interrupted'}", file=sys.stderr)
        return TERMINATED if isinstance(interruption, _Terminated) else INTERRUPTED
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:  # an error that nothing closer to its cause has reported
        print(
            f"{_name(words)} failed: {f'{error.filename}: ' * bool(error.filename)}{reason_of(error)}.", file=sys.stderr
        )
    except Exception as error:
        from engines.output.crash_log import describe_crash

        print(f"{_name(words)} failed: {describe_crash(error, 'command')}", file=sys.stderr)
    return 1


def _name(words: list[str]) -> str:
    return next((word for word in words if word in COMMANDS), PROGRAM)


class _Terminated(KeyboardInterrupt):
    """SIGTERM was received. It is handled like Ctrl-C: partial files and child processes are removed."""


@contextlib.contextmanager
def _termination_as_exception() -> Iterator[None]:
    """Raise an exception on SIGTERM if nothing else handles it."""
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
    words, globals_ = _take_globals(words)
    as_json = "--json" in globals_
    if not words:
        return _without_command(globals_)
    if words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"{PROGRAM} {__version__}")
        return 0
    name = words[0]
    if name not in COMMANDS:
        raise SettingsError([f"unknown command {shown(name)}; available commands: {', '.join(COMMANDS)}."])
    from nanochat_tui import parser

    if words[1:] and words[1] in ("-h", "--help"):
        print(parser.command_help(name))
        return 0
    options = parser.parse(name, words[1:], as_json)
    if "--readonly" in globals_:
        _refuse_to_write(name, options)
    if "--no-ui" not in globals_:
        from nanochat_tui import dashboard

        reason = dashboard.why_not(name, options)
        if reason is None:
            return dashboard.open_dashboard(name, options, "--readonly" in globals_, "--ascii" in globals_)
        if reason and (sys.stdout.isatty() or sys.stderr.isatty()):
            print(f"No dashboard: {reason}; going on as with --no-ui.", file=sys.stderr)
    return _work(name)(options)


def _refuse_to_write(name: str, options: Options) -> None:
    """Raise SettingsError for a command that would start, change, delete or write something."""
    command = COMMANDS[name]
    if not command.reads_only:
        reading = ", ".join(name for name, command in COMMANDS.items() if command.reads_only)
        raise SettingsError(
            [
                f"{name} is not available with --readonly, which starts, changes and writes nothing; "
                f"available: {reading}."
            ]
        )
    if options.words.get(command.writing):
        raise SettingsError([f"{name} --{command.writing} is not available with --readonly, which writes nothing."])


def _without_command(globals_: set[str]) -> int:
    """The dashboard; where there is none, how to use the program."""
    from nanochat_tui import dashboard

    reason = "--no-ui needs a command" if "--no-ui" in globals_ else dashboard.why_not("", None)
    if reason is None:
        return dashboard.open_dashboard("", None, "--readonly" in globals_, "--ascii" in globals_)
    print(_help(), file=sys.stderr)
    print(f"\nNo dashboard: {reason}.", file=sys.stderr)
    return USAGE_ERROR


def _take_globals(words: list[str]) -> tuple[list[str], set[str]]:
    """What holds for every command may stand anywhere before a `--`."""
    end = words.index("--") if "--" in words else len(words)
    head = [word for word in words[:end] if word not in _GLOBALS]
    return head + words[end + 1 :], _GLOBALS.intersection(words[:end])


def _work(name: str) -> Callable[[Options], int]:
    import importlib

    module = importlib.import_module(f"nanochat_tui.headless.{COMMANDS[name].module}")
    work: Callable[[Options], int] = getattr(module, name)
    return work


def _help() -> str:
    """Commands, and the full list of settings."""
    lines = [
        f"usage: {PROGRAM} [--no-ui] [--json] [COMMAND ...]",
        "",
        "A lab for tiny language models in a terminal. Without a command it opens the dashboard.",
        "",
        "commands:",
        *(f"  {name:<10} {command.help}" for name, command in COMMANDS.items()),
        "",
        "  --no-ui    plain text; results on stdout, everything else on stderr",
        "  --readonly start, stop, change, delete and write nothing",
        "  --ascii    the dashboard draws with ASCII alone",
        "  --json     events and results as JSON lines on stdout",
        "  --version  print the version",
    ]
    for title, settings in (("train", TrainSettings), ("sample", SampleSettings), ("ablate", StudySettings)):
        group = ""
        for field in fields(settings).values():
            if field.group != group:
                group = field.group
                lines += ["", f"{title}, {group}:"]
            default = f" [{shown}]" if (shown := shown_default(field)) else ""
            lines.append(f"  {f'{field.flag} {field.takes}':<42} {field.help}{default}")
    return "\n".join(lines)
