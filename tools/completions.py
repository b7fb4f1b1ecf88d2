"""Write the shell completions in completions/ from the commands: `make completions`.

The scripts are static: they complete commands, options, choices and paths without starting the program. A test checks
that they are current.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import shtab

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engines.settings.fields import fields  # noqa: E402
from nanochat_tui.commands import COMMANDS, PROGRAM  # noqa: E402
from nanochat_tui.help import GLOBAL_OPTIONS  # noqa: E402
from nanochat_tui.parser import add_options  # noqa: E402

FOLDER = ROOT / "completions"
FILES = {"bash": f"{PROGRAM}.bash", "zsh": f"_{PROGRAM}", "fish": f"{PROGRAM}.fish"}
_PATH_OPTIONS = {"data", "val_data"}  # settings whose values are paths or the names of corpora
_COMPLETE_PATHS = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "RUN": shtab.DIRECTORY, "RUN|STUDY": shtab.DIRECTORY}


def build_parser() -> argparse.ArgumentParser:
    """Return one parser for all commands. The program itself builds only the parser of the command that runs."""
    parser = argparse.ArgumentParser(PROGRAM, description="A lab for tiny language models in a terminal.")
    for option, text in GLOBAL_OPTIONS.items():
        parser.add_argument(option, action="store_true", help=text)
    commands = parser.add_subparsers()
    for name, command in COMMANDS.items():
        command_parser = commands.add_parser(name, help=command.help, description=command.help)
        for option, text in GLOBAL_OPTIONS.items():
            if option != "--version":
                command_parser.add_argument(option, action="store_true", help=text)
        add_options(command_parser, name)
        _complete_values(command_parser, name)
    return parser


def _complete_values(parser: argparse.ArgumentParser, command: str) -> None:
    """Complete the choices of settings, which argparse itself does not check, and paths."""
    settings = {name: field for kind in COMMANDS[command].settings for name, field in fields(kind).items()}
    for action in parser._actions:
        field = settings.get(action.dest)
        if field and field.choices and action.nargs != 0:
            action.choices = field.choices
        elif action.dest in _PATH_OPTIONS:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif isinstance(action.metavar, str) and action.metavar in _COMPLETE_PATHS:
            action.complete = _COMPLETE_PATHS[action.metavar]  # type: ignore[attr-defined]


def render_completions() -> dict[str, str]:
    """Return the text of each file in completions/."""
    render: Callable[[argparse.ArgumentParser, str], str] = shtab.complete
    return {file: render(build_parser(), shell).rstrip() + "\n" for shell, file in FILES.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in render_completions().items():
        (FOLDER / file).write_text(text)
        print(FOLDER / file)
