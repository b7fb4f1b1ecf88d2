"""The entry point: takes what holds for every command, prints the help, and hands the rest on.

Light on purpose: a command's work, and even its parser, is imported when it is chosen, so that --help answers at once.
"""

import sys
from collections.abc import Callable, Sequence

from engines import __version__
from engines.config import SampleSettings, TrainSettings
from engines.errors import LabError, SettingsError
from engines.fields import fields, shown_default
from nanochat_tui.commands import COMMANDS, PROGRAM, Options

USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except SettingsError as error:
        for problem in error.problems:
            print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return USAGE_ERROR
    except LabError as error:
        command = next((word for word in words if word in COMMANDS), "")
        print(f"{command or PROGRAM} failed: {error}", file=sys.stderr)
        return 1


def _dispatch(words: list[str]) -> int:
    words, as_json, no_ui = _take_globals(words)
    if not words:
        print(_help(), file=sys.stderr)
        return USAGE_ERROR
    if words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"{PROGRAM} {__version__}")
        return 0
    name = words[0]
    if name not in COMMANDS:
        raise SettingsError([f"{name!r} is no command; there are: {', '.join(COMMANDS)}."])
    from nanochat_tui import parser

    if words[1:] and words[1] in ("-h", "--help"):
        print(parser.command_help(name))
        return 0
    options = parser.parse(name, words[1:], as_json)
    if not no_ui and sys.stderr.isatty():
        print("This version has no dashboard yet: going on as with --no-ui.", file=sys.stderr)
    return _work(name)(options)


def _take_globals(words: list[str]) -> tuple[list[str], bool, bool]:
    """--no-ui and --json may stand anywhere before a `--`."""
    end = words.index("--") if "--" in words else len(words)
    head = [word for word in words[:end] if word not in ("--no-ui", "--json")]
    return head + words[end + 1 :], "--json" in words[:end], "--no-ui" in words[:end]


def _work(name: str) -> Callable[[Options], int]:
    import importlib

    module = importlib.import_module(f"nanochat_tui.headless.{COMMANDS[name].module}")
    work: Callable[[Options], int] = getattr(module, name)
    return work


def _help() -> str:
    """Commands, and the full list of settings."""
    lines = [
        f"usage: {PROGRAM} [--no-ui] [--json] COMMAND ...",
        "",
        "A lab for tiny language models in a terminal.",
        "",
        "commands:",
        *(f"  {name:<10} {command.help}" for name, command in COMMANDS.items()),
        "",
        "  --no-ui    plain text; results on stdout, everything else on stderr",
        "  --json     events and results as JSON lines on stdout",
        "  --version  print the version",
    ]
    for title, settings in (("train", TrainSettings), ("sample", SampleSettings)):
        group = ""
        for field in fields(settings).values():
            if field.group != group:
                group = field.group
                lines += ["", f"{title}, {group}:"]
            default = f" [{shown}]" if (shown := shown_default(field)) else ""
            lines.append(f"  {f'{field.flag} {field.takes}':<42} {field.help}{default}")
    return "\n".join(lines)
