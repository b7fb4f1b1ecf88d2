"""The user config file in the dashboard: theme, keys, and default settings of the form."""

from pathlib import Path

import pytest

from engines.errors import SettingsError
from engines.settings.user_config import UserConfig
from screens.app import DashboardApp
from screens.settings import check_user_config
from screens.shared.settings_form import SettingsForm

CONFIG = UserConfig(Path("config.toml"), theme="nanochat-light", keys={"open.runs": "f8"}, train={"steps": 777})


async def test_theme_keys_and_form_follow_the_file(tmp_path: Path) -> None:
    app = DashboardApp(tmp_path, user_config=CONFIG)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert app.theme == "nanochat-light"
        form = app.screen.query_one(SettingsForm)
        assert form.given == {"steps": "777"}
        assert CONFIG.origin_of(form.given) == {"user_config": {"path": "config.toml", "settings": ["steps"]}}
        await pilot.press("f8")
        await pilot.pause()
        assert app.current_mode == "runs"


def test_an_unknown_theme_or_binding_is_reported_with_the_accepted_values() -> None:
    config = UserConfig(Path("config.toml"), theme="pink", keys={"open.door": "f8"})
    with pytest.raises(SettingsError) as caught:
        check_user_config(config)
    theme, binding = caught.value.problems
    assert theme.startswith("config.toml: theme must be one of nanochat-dark, nanochat-light, ")
    assert theme.endswith(", not 'pink'.")
    assert binding.startswith("config.toml: keys: unknown binding 'open.door'; accepted: ") and "open.runs" in binding
    check_user_config(CONFIG)
