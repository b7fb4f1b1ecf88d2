"""Saves a generated text in its run directory, with the command that generates it again."""

import shlex
from pathlib import Path

from engines.errors import UserError
from screens.sample.generation import Generation

_FOLDER = "samples"


def save_generation(generation: Generation) -> Path:
    """Write a new file and return its path. Waits for the disk: call it in a thread.

    Raises UserError if the run directory cannot be written.
    """
    try:
        return _write_new_file(generation)
    except OSError as error:
        raise UserError(f"{generation.run_path} cannot be written ({error.strerror}).") from None


def _write_new_file(generation: Generation) -> Path:
    folder = generation.run_path / _FOLDER
    folder.mkdir(exist_ok=True)
    stem = f"step-{generation.checkpoint.step:08d}-seed-{generation.request.settings['seed']}"
    number = 1
    while True:
        path = folder / (f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt")
        try:
            with open(path, "x", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"# {build_command(generation)}\n{generation.text}\n")
        except FileExistsError:
            number += 1
        else:
            return path


def build_command(generation: Generation) -> str:
    """Return the command line that generates the same text."""
    given = {"prompt": generation.request.prompt, **generation.request.settings}
    checkpoint = generation.checkpoint
    words = ["nanochat-tui", "--no-ui", "sample", checkpoint.run_id, f"--checkpoint={checkpoint.step}"]
    words += [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value != ""]
    return shlex.join(words)
