"""Press every key of every screen: its post-condition must fail before the key and hold after it."""

import importlib
import pkgutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
from app_pilot import AppPilot, add_run, add_study, hold_lock, open_dashboard
from builders import finished_run
from postconditions import POSTCONDITIONS
from situations import SITUATIONS, Situation
from textual.binding import Binding
from textual_internals import StyledLine

import screens
from engines.ablation.study import start_queue
from engines.runs.checked_json import write_checked_json
from engines.runs.store import Run
from screens.app import DashboardApp

KEY_PATIENCE = 3.0  # seconds after which a key is considered to have no effect
RESTORE_PATIENCE = 0.3  # seconds for a screen to look as before; otherwise the app is opened again

SIZE = (100, 30)  # wide, and quick to paint
TEXTUAL_KEYS = ("ctrl+q",)  # the app's keys that Textual declares

# Keys that must not change, by where they are active, with the ids of their bindings.
FIXED_KEYS = {
    "app": {"1": "open.train", "2": "open.runs", "3": "open.sample", "4": "open.ablate", "q": "leave"},
    "help": {"question_mark": "help"},
    "train": {"S": "train.stop", "p": "train.pause", "r": "train.resume", "g": "train.guards", "l": "train.log"},
    "view": {"enter": "train.maximize", "escape": "train.back"},
    "chart": {"y": "chart.log", "x": "chart.axis", "s": "chart.smooth", "f": "chart.follow", "0": "chart.reset_zoom"},
    "window": {"plus": "chart.zoom_in", "minus": "chart.zoom_out", "left": "chart.left", "right": "chart.right"},
    "cross": {"c": "chart.cross"},
    "runs": {"space": "runs.mark", "slash": "runs.filter", "S": "runs.stop", "p": "runs.pause", "r": "runs.resume"},
}


@pytest.fixture(scope="module")
def trained_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results directory with one trained run: its checkpoints can be inspected and sampled."""
    folder = tmp_path_factory.mktemp("trained")
    finished_run(folder, model_kind="mini-gpt", width=4, heads=1, steps=60)
    return folder / "results"


@pytest.fixture
def recorded_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results directory with four recorded runs, of its own because keys may start more."""
    results = tmp_path_factory.mktemp("recorded")
    for number, ending in enumerate(("finished", "killed", "spikes-warned", "stopped")):
        add_run(results, ending, age=4000.0 * (number + 1))
    return results


@pytest.fixture(scope="module")
def study_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return results with a finished study of three learning rates, between two studies that were never started."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))  # otherwise this results directory would be remembered for other tests
        for age in (3e6, 2e6, 1e6):  # days, because the age of newer ones is shown in seconds and changes
            study = add_study(folder, {"lr": (0.03, 0.1, 0.3)})
            write_checked_json(study.config_path, {**study.config, "created_at": time.time() - age})
            if age == 2e6:
                start_queue(study).wait()
    return folder / "results"


@pytest.fixture
def kill_started_processes() -> Iterator[None]:
    """Kill what keys have started: a study of many runs would slow down the tests that follow."""
    before = psutil.Process().children(recursive=True)
    yield
    for process in psutil.Process().children(recursive=True):
        if process not in before:
            with suppress(psutil.NoSuchProcess):
                process.kill()


class Inventory:
    """Presses every key of a situation, which is opened again after keys whose changes cannot be undone."""

    def __init__(self, situation: Situation, results: Path) -> None:
        self.situation = situation
        self.results = results
        self.keys: list[str] = []
        self.failed: dict[str, str] = {}  # by key: the reason and the screen
        self.arranged: list[StyledLine] = []  # the screen before a key is pressed
        self.depth = 1  # number of open screens before a key is pressed

    async def press_all(self) -> None:
        """Press each key in the situation as it was arranged. Fills `keys` and `failed`."""
        left: list[str] | None = None
        while left is None or left:
            async with self._open_arranged() as pilot:
                await wait_until_still(pilot)
                self.arranged, self.depth = pilot.styled_lines(), len(pilot.app.screen_stack)
                self.keys = self.keys or self._keys_to_press(pilot)
                left = list(self.keys) if left is None else left
                while left and await self._press(pilot, left.pop(0)):
                    pass

    async def _press(self, pilot: AppPilot, key: str) -> bool:
        """Press a key and check its post-condition; return whether the next key can be pressed in the same app."""
        name = self._binding_id(pilot, key)
        post = POSTCONDITIONS.get(name)
        if post is None:
            self.failed[key] = f"{name} has no post-condition"
            return True
        holds = post(pilot)
        if holds():
            self.failed[key] = f"the post-condition of {name} holds before the key:\n{pilot.screen_text()}"
            return True
        await pilot.press(key)
        try:
            await pilot.wait_until(holds, KEY_PATIENCE)
        except AssertionError as error:
            self.failed[key] = f"the post-condition of {name} does not hold: {error}"
        return await self._restore(pilot)

    def _binding_id(self, pilot: AppPilot, key: str) -> str:
        """Return the id of the binding of a key. Those that an owner declares count: a list may pass keys on."""
        declared = [binding for owner in self.situation.owners for binding in bindings_of(owner)]
        own = [str(binding.id) for binding in declared if binding.key == key]
        active = str(pilot.screen.active_bindings[key].binding.id)
        return active if active in POSTCONDITIONS else own[0] if own else key

    def _keys_to_press(self, pilot: AppPilot) -> list[str]:
        """Return the keys of the situation, or all keys that its owners declare, if they are active."""
        declared = set().union(*map(keys_of, self.situation.owners))
        of_textual = set(TEXTUAL_KEYS) if DashboardApp in self.situation.owners else set()
        keys = set(self.situation.keys) or declared | of_textual
        return sorted(keys & pilot.screen.active_bindings.keys())

    async def _restore(self, pilot: AppPilot) -> bool:
        """Close what the key has opened; return whether the screen is the same as before the key."""
        if pilot.has_exited:
            return False
        if pilot.styled_lines() == self.arranged:
            return True
        if pilot.app.current_mode != self.situation.screen:
            await pilot.app.switch_mode(self.situation.screen)
        while len(pilot.app.screen_stack) > self.depth:
            pilot.app.pop_screen()
            await pilot.pause()
        if self.situation.restore and pilot.styled_lines() != self.arranged:
            await self.situation.restore(pilot)
            with suppress(AssertionError):
                await pilot.wait_until(lambda: pilot.styled_lines() == self.arranged, RESTORE_PATIENCE)
        await wait_until_still(pilot)
        return pilot.styled_lines() == self.arranged

    @asynccontextmanager
    async def _open_arranged(self) -> AsyncIterator[AppPilot]:
        with ExitStack() as stack:
            if self.situation.run == "live":
                stack.enter_context(hold_lock(Run(self.results / "runs" / "killed")))
            async with open_dashboard(self.results, SIZE, **self._options()) as pilot:
                await self.situation.arrange(pilot)
                yield pilot

    def _options(self) -> dict[str, object]:
        """Return the options of the dashboard: the screen and the run of the situation."""
        names = {"live": "killed", "trained": next(self.results.glob("runs/*")).name}
        name = names.get(self.situation.run, self.situation.run)
        run = {"run": Run(self.results / "runs" / name)} if name else {}
        return {"screen": self.situation.screen, **run}


def bindings_of(cls: type) -> Iterator[Binding]:
    """Yield the bindings that a class of the dashboard declares itself."""
    if cls.__module__.startswith("screens."):
        yield from Binding.make_bindings(cls.__dict__.get("BINDINGS", ()))


def keys_of(cls: type) -> set[str]:
    return {binding.key for binding in bindings_of(cls)}


async def wait_until_still(pilot: AppPilot) -> None:
    """Wait until the screen no longer changes by itself, so that every later change is an effect of a key."""
    painted = pilot.styled_lines()
    while True:
        await pilot.pause(0.05)
        before, painted = painted, pilot.styled_lines()
        if before == painted:
            return


def all_bindings() -> Iterator[tuple[type, Binding]]:
    """Yield every class below screens/ that declares bindings, with each of them."""
    for module in pkgutil.walk_packages(screens.__path__, "screens."):
        for cls in vars(importlib.import_module(module.name)).values():
            if isinstance(cls, type) and cls.__module__ == module.name:
                yield from ((cls, binding) for binding in bindings_of(cls))


@pytest.mark.usefixtures("kill_started_processes")
@pytest.mark.parametrize("name", SITUATIONS)
async def test_every_key_has_its_effect(name: str, request: pytest.FixtureRequest) -> None:
    situation = SITUATIONS[name]
    inventory = Inventory(situation, request.getfixturevalue(situation.results))
    await inventory.press_all()
    assert not inventory.failed, "\n".join(f"{key}: {reason}" for key, reason in inventory.failed.items())
    expected = set(situation.keys) or set().union(*map(keys_of, situation.owners))
    assert expected - set(inventory.keys) == set()


def test_every_binding_has_a_post_condition_and_every_post_condition_a_binding() -> None:
    ids = {str(binding.id) for _, binding in all_bindings()}
    assert ids - POSTCONDITIONS.keys() == set()
    assert POSTCONDITIONS.keys() - ids == set(TEXTUAL_KEYS)


async def test_no_post_condition_holds_if_a_key_only_repaints_the_screen(
    recorded_results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_dashboard(recorded_results, SIZE, run=Run(recorded_results / "runs" / "finished")) as pilot:
        await SITUATIONS["chart"].arrange(pilot)

        async def repaint(*_: object) -> bool:
            pilot.screen.styles.background = "red" if pilot.screen.styles.background.b else "blue"
            return True

        monkeypatch.setattr(pilot.app, "run_action", repaint)
        bindings = {key: str(active.binding.id) for key, active in pilot.screen.active_bindings.items()}
        pressed = {key: name for key, name in bindings.items() if name in POSTCONDITIONS}
        for key, name in pressed.items():
            holds = POSTCONDITIONS[name](pilot)
            await pilot.press_at_once(key)
            assert not holds(), name
        assert len(set(pressed.values())) > 25


def test_the_situations_cover_every_class_with_bindings() -> None:
    pressed = {owner for situation in SITUATIONS.values() for owner in situation.owners}
    assert {cls for cls, _ in all_bindings()} - pressed == set()


def test_every_binding_has_an_id_and_a_tooltip() -> None:
    declared = list(all_bindings())
    assert len(declared) > 80
    assert [(cls, binding.key) for cls, binding in declared if not binding.id or not binding.tooltip] == []
    assert [
        binding.key for _, binding in declared if binding.key in ("ctrl+a", "ctrl+b")
    ] == []  # prefix keys of screen and tmux


def test_no_two_actions_share_a_binding_id() -> None:
    owners: dict[str, set[str]] = {}
    for _, binding in all_bindings():
        owners.setdefault(str(binding.id), set()).add(binding.action)
    assert {id: actions for id, actions in owners.items() if len(actions) > 1} == {}


@pytest.mark.parametrize("where", FIXED_KEYS)
def test_documented_keys_keep_their_ids(where: str) -> None:
    declared = {(binding.key, binding.id) for _, binding in all_bindings()}
    assert set(FIXED_KEYS[where].items()) - declared == set()
