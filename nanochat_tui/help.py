"""Text of `nanochat-tui --help`: commands, global options, environment variables and every setting."""

from collections.abc import Iterator

from engines.ablation.settings import StudySettings
from engines.settings.fields import fields, format_default
from engines.settings.presets import PRESETS
from engines.settings.sample import SampleSettings
from engines.settings.train import TrainSettings
from nanochat_tui.commands import COMMANDS, PROGRAM

GLOBAL_OPTIONS = {
    "--no-ui": "plain text; results on stdout, everything else on stderr",
    "--readonly": "read-only mode: start, change, delete and write nothing",
    "--ascii": "draw the dashboard with ASCII characters only",
    "--json": "print events and results as JSON lines on stdout",
    "--user-config": "headless: use the results directory and (train, plan) the settings of the user config file",
    "--version": "print the version",
}
_ENVIRONMENT = {
    "NANOCHAT_TUI_RESULTS": "results directory, where --results-dir is not given (default: ./results)",
    "XDG_CACHE_HOME": "parent of the cache of tokens and tokenizers (Linux default: ~/.cache)",
    "XDG_STATE_HOME": "parent of logs and of the list of results directories (Linux default: ~/.local/state)",
    "CUDA_VISIBLE_DEVICES": "GPUs that runs and studies may use",
    "NO_COLOR": "draw without colours",
}
_USER_CONFIG = (
    "  ~/.config/nanochat-tui/config.toml (macOS: ~/Library/Application Support/nanochat-tui/config.toml)",
    "  results, theme, charset, [keys] and [train], the settings with which the form of a new run begins",
)
_SETTINGS = (("train", TrainSettings), ("sample", SampleSettings), ("ablate", StudySettings))


def render_help() -> str:
    """Return the help for all commands, in lines of text."""
    lines = [
        f"usage: {PROGRAM} [--no-ui] [--json] [COMMAND ...]",
        "",
        "A lab for tiny language models in a terminal. Without a command, the dashboard opens.",
        "",
        "commands:",
        *_table({name: command.help for name, command in COMMANDS.items()}),
        "",
        f"`{PROGRAM} COMMAND --help` lists the options of a command.",
        "",
        "global options:",
        *_table(GLOBAL_OPTIONS),
        "",
        "presets, for --preset of train, plan and ablate:",
        *_table({preset.name: preset.description for preset in PRESETS.values()}),
        "",
        "environment variables:",
        *_table(_ENVIRONMENT),
        "",
        "user config file of the dashboard:",
        *_USER_CONFIG,
    ]
    for command, settings in _SETTINGS:
        lines += _settings_of(command, settings)
    return "\n".join(lines)


def _table(rows: dict[str, str]) -> list[str]:
    width = max(map(len, rows))
    return [f"  {name:<{width}}  {text}" for name, text in rows.items()]


def _settings_of(command: str, settings: type) -> Iterator[str]:
    """Yield the settings of a command with their help and defaults, under a heading for each group."""
    group = ""
    for field in fields(settings).values():
        if field.group != group:
            group = field.group
            yield from ("", f"{command}, {group}:")
        default = f" [{text}]" if (text := format_default(field)) else ""
        yield f"  {f'{field.flag} {field.metavar}':<42} {field.help}{default}"
