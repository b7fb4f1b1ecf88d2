"""The user config file: read completely, or refused with the file, the key, the bad value and the accepted values."""

from pathlib import Path

import pytest

from engines.errors import SettingsError
from engines.settings.user_config import UserConfig, read_user_config, user_config_path


def write(text: str) -> Path:
    """Write the user config file of the test's home directory."""
    path = user_config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_a_file_everything_has_its_default(own_home: Path) -> None:
    assert own_home in user_config_path().parents
    assert read_user_config() == UserConfig(user_config_path())


def test_every_key_is_read() -> None:
    path = write("""
    results = "~/runs"
    theme = "nanochat-light"
    charset = "ascii"
    [keys]
    leave = "ctrl+q,f10"
    [train]
    batch-size = 16
    data = "stories"
    """)
    assert read_user_config() == UserConfig(
        path, "~/runs", "nanochat-light", "ascii", {"leave": "ctrl+q,f10"}, {"batch_size": 16, "data": "stories"}
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colour = 1", "unknown key 'colour'; accepted keys: results, theme, charset, keys, train."),
        ('charset = "utf8"', "charset must be one of auto, unicode, ascii, not 'utf8'."),
        ("theme = 1", "theme must be text, not 1."),
        ("keys = 1", "keys must be a table, not 1."),
        ("[keys]\nleave = 1", "keys: 'leave' must be a key such as f2 or ctrl+s, or several joined by commas, not 1."),
        ("[train]\nstepz = 1", "train: unknown setting 'stepz'; did you mean steps?"),
        ("[train]\nlr = 'fast'", "train: lr must be a number or auto, not 'fast'."),
        ("theme = ", "is not TOML: Invalid value"),
    ],
)
def test_a_mistake_is_named_with_its_file(text: str, sentence: str) -> None:
    path = write(text)
    with pytest.raises(SettingsError) as caught:
        read_user_config()
    (problem,) = caught.value.problems
    assert problem.startswith(str(path)) and sentence in problem


def test_all_mistakes_are_named_at_once() -> None:
    write("colour = 1\ncharset = 'utf8'\n[train]\nlr = 'fast'\n[keys]\nhelp = 0")
    with pytest.raises(SettingsError) as caught:
        read_user_config()
    assert len(caught.value.problems) == 4


def test_a_manifest_names_the_settings_that_come_from_the_file() -> None:
    config = UserConfig(Path("config.toml"), train={"lr": 0.1, "data": "stories"})
    assert config.origin_of({"lr": "0.1", "data": "names"}) == {
        "user_config": {"path": "config.toml", "settings": ["lr"]}
    }
    assert config.origin_of({"steps": 5}) == {}
