"""Writes what was said into its run's directory, with the command that draws it again."""

import shlex
from pathlib import Path

from screens.sample.generation import Speech

_FOLDER = "samples"


def save(speech: Speech) -> Path:
    """The new file; OSError if it cannot be written. It waits for the disk, so a screen calls it from a thread."""
    folder = speech.run_path / _FOLDER
    folder.mkdir(exist_ok=True)
    stem = f"step-{speech.checkpoint.step:08d}-seed-{speech.asked.settings['seed']}"
    number = 1
    while True:
        path = folder / (f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt")
        try:
            with open(path, "x", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"# {command(speech)}\n{speech.text}\n")
        except FileExistsError:
            number += 1
        else:
            return path


def command(speech: Speech) -> str:
    """What draws the same text headless."""
    given = {"prompt": speech.asked.prompt, **speech.asked.settings}
    words = ["nanochat-tui", "--no-ui", "sample", speech.checkpoint.run_id, f"--checkpoint={speech.checkpoint.step}"]
    words += [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value != ""]
    return shlex.join(words)
