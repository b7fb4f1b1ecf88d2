"""Parse the words of a command into `Options`: argparse splits them, `Field.parse` converts the values."""

import argparse
from typing import Any

from engines.errors import SettingsError
from engines.settings.fields import Field, fields, format_bad_value, format_default, parse_settings, suggest_name
from nanochat_tui.commands import COMMANDS, PROGRAM, RESULTS_DIR, Argument, Options


def parse(name: str, words: list[str], as_json: bool) -> Options:
    """Parse the words behind command `name`. Raises SettingsError, which names every wrong option and value."""
    parser = build_parser(name)
    if problems := _problems_with_dashes(words):
        raise SettingsError(problems)
    known, unknown = parser.parse_known_args(words)
    problems = _problems_with_unknown(name, unknown, parser)
    raw = vars(known)
    parsed: dict[str, Any] = {}
    for settings in COMMANDS[name].settings:
        given = {key: raw.pop(key) for key in fields(settings) if key in raw}
        try:
            parsed |= parse_settings(settings, given)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return Options(as_json, raw, parsed)


def _problems_with_dashes(words: list[str]) -> list[str]:
    """Return a sentence for each `--option=--`, which argparse would treat as an option without a value."""
    return [
        f"{shorten(word[:-3])} must be followed by a value other than --."
        for word in words
        if word.startswith("-") and word.endswith("=--")
    ]


def _problems_with_unknown(name: str, words: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return a sentence for each unknown option and unexpected argument."""
    options = [option for action in parser._actions for option in action.option_strings]
    problems = []
    follows_unknown_option = False  # such a word is the value of that option, not another mistake
    for word in words:
        if follows_unknown_option and not word.startswith("-"):
            continue
        follows_unknown_option = word.startswith("-") and "=" not in word
        option = word.partition("=")[0]
        if option.startswith("-"):
            problems.append(f"{name}: unknown option {shorten(option)}{suggest_name(option, options)}")
        else:
            problems.append(f"{name}: unexpected argument {format_bad_value(word)}.")
    return problems


def command_help(name: str) -> str:
    """Return the help of one command."""
    return build_parser(name).format_help()


class _Parser(argparse.ArgumentParser):
    """Parser that raises SettingsError instead of exiting."""

    def error(self, message: str) -> Any:
        raise SettingsError([f"{shorten(message, 300)}; see: {PROGRAM} {self.prog.split()[-1]} --help"])


def build_parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of one command."""
    description = COMMANDS[name].help
    parser = _Parser(prog=f"{PROGRAM} {name}", description=description, allow_abbrev=False, usage=_usage(name))
    add_options(parser, name)
    return parser


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one command to a parser: its own, --results-dir, and its settings by group."""
    command = COMMANDS[name]
    for argument in (*command.arguments, RESULTS_DIR):
        parser.add_argument(argument.name, **argument.keywords)
    groups: dict[str, Any] = {}
    for settings in command.settings:
        for field in fields(settings).values():
            group = groups.get(field.group) or groups.setdefault(field.group, parser.add_argument_group(field.group))
            _add_setting(group, field)


def _usage(name: str) -> str | None:
    """Return a short usage line for a command with settings: argparse would list all fifty."""
    command = COMMANDS[name]
    if not command.settings:
        return None
    positional = [_placeholder(argument) for argument in command.arguments if not argument.name.startswith("-")]
    return " ".join([PROGRAM, "[--no-ui] [--json]", name, *positional, "[OPTIONS]"])


def _placeholder(argument: Argument) -> str:
    """Return how a positional argument is written in a usage line."""
    name = argument.keywords.get("metavar") or f"{{{','.join(argument.keywords['choices'])}}}"
    return f"[{name}]" if argument.keywords.get("nargs") == "?" else name


def _add_setting(group: Any, field: Field) -> None:
    """Add the option of a setting. Its value stays text here, because `Field.parse` converts it for every source."""
    default = f" (default: {text})" if (text := format_default(field)) else ""
    keywords = {"dest": field.name, "default": argparse.SUPPRESS, "help": (field.help + default).replace("%", "%%")}
    if field.kind != "bool":
        group.add_argument(field.flag, metavar=field.metavar, **keywords)
        return
    group.add_argument(field.flag, nargs="?", const="true", metavar=field.metavar, **keywords)
    negation = {**keywords, "help": argparse.SUPPRESS}
    group.add_argument(f"--no-{field.flag[2:]}", action="store_const", const="false", **negation)


def shorten(text: str, max_characters: int = 60) -> str:
    """Shorten a text for an error message by leaving out its middle."""
    if len(text) <= max_characters:
        return text
    return f"{text[: max_characters // 2]}…{text[-max_characters // 3 :]}"
