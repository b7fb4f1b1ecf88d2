"""From a command's words to `Options`: argparse splits, `Field.parse` understands, every mistake is told."""

import argparse
from typing import Any

from engines.errors import SettingsError
from engines.settings.fields import Field, fields, parse_all, shown, shown_default
from nanochat_tui.commands import COMMANDS, PROGRAM, RESULTS_DIR, Options


def parse(name: str, words: list[str], as_json: bool) -> Options:
    """The options of command `name`; SettingsError names every flag and value that is wrong."""
    parser = _parser(name)
    if problems := _without_value(words):
        raise SettingsError(problems)
    flags = [option for action in parser._actions for option in action.option_strings]
    known, unknown = parser.parse_known_args(words)
    raw = vars(known)
    stray_value = False  # the word after an unknown flag is that flag's value, not another mistake
    for word in unknown:
        if stray_value and not word.startswith("-"):
            continue
        stray_value = word.startswith("-") and "=" not in word
        flag = word.partition("=")[0]
        is_option = flag.startswith("-")
        what = f"{name}: unknown option {short(flag)}" if is_option else f"{name}: unexpected argument {shown(word)}"
        problems.append(f"{what}.{did_you_mean(flag, flags)}")
    parsed: dict[str, Any] = {}
    for settings in COMMANDS[name].settings:
        given = {key: raw.pop(key) for key in fields(settings) if key in raw}
        try:
            parsed |= parse_all(settings, given)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return Options(as_json, raw, parsed)


def command_help(name: str) -> str:
    return _parser(name).format_help()


class _Parser(argparse.ArgumentParser):
    """Tells errors in our way: all of them, and none twice."""

    def error(self, message: str) -> Any:
        raise SettingsError([f"{short(message, 300)}; see: {PROGRAM} {self.prog.split()[-1]} --help"])


def _parser(name: str) -> argparse.ArgumentParser:
    command = COMMANDS[name]
    parser = _Parser(prog=f"{PROGRAM} {name}", description=command.help, allow_abbrev=False, usage=_usage(name))
    for argument in (*command.arguments, RESULTS_DIR):
        parser.add_argument(argument.name, **argument.how)
    groups: dict[str, Any] = {}
    for settings in command.settings:
        for field in fields(settings).values():
            group = groups.get(field.group) or groups.setdefault(field.group, parser.add_argument_group(field.group))
            _add_flag(group, field)
    return parser


def _usage(name: str) -> str | None:
    """With fifty settings argparse's own usage is a wall."""
    return f"{PROGRAM} [--no-ui] [--json] {name} [RUN] [SETTINGS]" if COMMANDS[name].settings else None


def _add_flag(group: Any, field: Field) -> None:
    """Values stay text here: `Field.parse` is the one parser, whatever a value came through."""
    default = f" (default: {shown})" if (shown := shown_default(field)) else ""
    keywords = {"dest": field.name, "default": argparse.SUPPRESS, "help": (field.help + default).replace("%", "%%")}
    if field.kind != "bool":
        group.add_argument(field.flag, metavar=field.takes, **keywords)
        return
    group.add_argument(field.flag, nargs="?", const="true", metavar=field.takes, **keywords)
    negation = {**keywords, "help": argparse.SUPPRESS}
    group.add_argument(f"--no-{field.flag[2:]}", action="store_const", const="false", **negation)


def _without_value(words: list[str]) -> list[str]:
    """Return a sentence for each `--flag=--`, which argparse would take for a flag without its value."""
    return [
        f"{short(word[:-3])} must be followed by a value other than --."
        for word in words
        if word.startswith("-") and word.endswith("=--")
    ]


def short(text: str, most: int = 60) -> str:
    """Shorten a long text for an error message by leaving out its middle."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 3 :]}"


def did_you_mean(word: str, known: Any) -> str:
    import difflib

    close = difflib.get_close_matches(word[:60], list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""
