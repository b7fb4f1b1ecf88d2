"""Presses every key of every screen: each has a post-condition, which fails before the key and holds after it."""

import asyncio
import importlib
import pkgutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
from builders import finished_run
from postconditions import POSTCONDITIONS
from seats import Seat, add_run, held, new_study, seated
from situations import SITUATIONS, Situation
from textual.binding import Binding

import screens
from engines.ablation.study import start_queue
from engines.runs.checked_json import write_checked_json
from engines.runs.store import Run
from screens.app import DashboardApp

_PATIENCE = 3.0  # seconds until a key has done nothing
_BRIEFLY = 0.3  # seconds for a screen to look as it did; else it is opened anew

_SIZE = (100, 30)  # wide, and quick to paint
_TEXTUALS = ("ctrl+q", "ctrl+p")  # Textual's own keys of the app

# The list, each key with where it holds and what it does there.
WANTED = {
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
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a run with checkpoints that can be looked at and speak."""
    folder = tmp_path_factory.mktemp("lab")
    finished_run(folder, model_kind="mini-gpt", width=4, heads=1, steps=60)
    return folder / "results"


@pytest.fixture
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of four runs, for one situation: a run that its keys start must not be in the next one's list."""
    results = tmp_path_factory.mktemp("recorded")
    for place, ending in enumerate(("finished", "killed", "spikes-warned", "stopped")):
        add_run(results, ending, age=4000.0 * (place + 1))
    return results


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a finished study of three rates, each with two seeds, between two that were never started."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("HOME", str(folder))  # else where it was trained would be remembered
        for age in (3e6, 2e6, 1e6):  # old ones, as a young one's age ticks
            study = new_study(folder, {"lr": (0.03, 0.1, 0.3)})
            write_checked_json(study.config_path, {**study.config, "created_at": time.time() - age})
            if age == 2e6:
                start_queue(study).wait()
    return folder / "results"


@pytest.fixture
def nothing_goes_on() -> Iterator[None]:
    """What keys have started ends with the test: a study of many runs would take the time of those that follow."""
    before = psutil.Process().children(recursive=True)
    yield
    for process in psutil.Process().children(recursive=True):
        if process not in before:
            with suppress(psutil.NoSuchProcess):
                process.kill()


class ArrangedSeat(Seat):
    """Knows what the situation looked like."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(seat.app, seat.pilot)
        self.depth = len(seat.app.screen_stack)
        self.arranged: list[list[tuple[str, str]]] = []


class Inventory:
    """Opens a situation, as often as there are keys to press in it."""

    def __init__(self, situation: Situation, results: Path) -> None:
        self.situation = situation
        self.results = results
        self.keys: list[str] = []
        self.failed: dict[str, str] = {}  # by key: why, and what was painted then

    async def press_all(self) -> None:
        """Each key meets the situation as it was arranged. Fills `keys` and `failed`."""
        left: list[str] | None = None
        while left is None or left:
            async with self._arranged() as seat:
                await _still(seat)
                seat.arranged = seat.painted()
                self.keys = self.keys or self._keys_of(seat)
                left = list(self.keys) if left is None else left
                while left and await self._press(seat, left.pop(0)):
                    pass

    async def _press(self, seat: "ArrangedSeat", key: str) -> bool:
        """Whether the next key can be pressed from here."""
        name = self._name_of(seat, key)
        post = POSTCONDITIONS.get(name)
        if post is None:
            self.failed[key] = f"{name} has no post-condition"
            return True
        holds = post(seat)
        if holds():
            self.failed[key] = f"the post-condition of {name} holds before the key:\n{seat.seen()}"
            return True
        await seat.pilot.press(key)
        try:
            await seat.until(holds, _PATIENCE)
        except AssertionError as error:
            self.failed[key] = f"the post-condition of {name} does not hold: {error}"
        return await self._can_be_as_before(seat)

    def _name_of(self, seat: Seat, key: str) -> str:
        """The id of the binding that takes a key here; what an owner declares counts, as a list may pass it on."""
        declared = [binding for owner in self.situation.owners for binding in _declared_by(owner)]
        own = [str(binding.id) for binding in declared if binding.key == key]
        active = str(seat.screen.active_bindings[key].binding.id)
        return active if active in POSTCONDITIONS else own[0] if own else key

    def _keys_of(self, seat: Seat) -> list[str]:
        """Those that the owners declare, or some of them, whoever takes them here."""
        declared = set().union(*map(_keys, self.situation.owners))
        textuals = set(_TEXTUALS) if DashboardApp in self.situation.owners else set()
        wanted = set(self.situation.keys) or declared | textuals
        return sorted(wanted & seat.screen.active_bindings.keys())

    async def _can_be_as_before(self, seat: "ArrangedSeat") -> bool:
        """Out of what the key has opened: what is painted tells whether nothing else has changed."""
        if seat.app._exit:
            return False
        if seat.painted() == seat.arranged:
            return True
        if seat.app.current_mode != self.situation.screen:
            await seat.app.switch_mode(self.situation.screen)
        while len(seat.app.screen_stack) > seat.depth:
            seat.app.pop_screen()
            await seat.pilot.pause()
        if self.situation.again and seat.painted() != seat.arranged:
            await self.situation.again(seat)
            with suppress(AssertionError):
                await seat.until(lambda: seat.painted() == seat.arranged, _BRIEFLY)
        await _still(seat)
        return seat.painted() == seat.arranged

    @asynccontextmanager
    async def _arranged(self) -> AsyncIterator["ArrangedSeat"]:
        with ExitStack() as stack:
            if self.situation.run == "live":
                stack.enter_context(held(Run(self.results / "runs" / "killed")))
            async with seated(self.results, _SIZE, **self._opened()) as seat:
                await self.situation.arrange(seat)
                yield ArrangedSeat(seat)

    def _opened(self) -> dict[str, object]:
        wanted = {"live": "killed", "real": next(self.results.glob("runs/*")).name}.get(
            self.situation.run, self.situation.run
        )
        run = {"run": Run(self.results / "runs" / wanted)} if wanted else {}
        return {"screen": self.situation.screen, **run}


def _declared_by(cls: type) -> Iterator[Binding]:
    """What a class of ours declares itself."""
    if cls.__module__.startswith("screens."):
        yield from Binding.make_bindings(cls.__dict__.get("BINDINGS", ()))


def _keys(cls: type) -> set[str]:
    return {binding.key for binding in _declared_by(cls)}


async def _still(seat: Seat) -> None:
    """Until nothing is painted anew of itself: what is painted after a key is then its doing."""
    painted = seat.painted()
    while True:
        await seat.pilot.pause(0.05)
        before, painted = painted, seat.painted()
        if before == painted:
            return


def _declared() -> Iterator[tuple[type, Binding]]:
    """Every binding of every class under screens/."""
    for module in pkgutil.walk_packages(screens.__path__, "screens."):
        for cls in vars(importlib.import_module(module.name)).values():
            if isinstance(cls, type) and cls.__module__ == module.name:
                yield from ((cls, binding) for binding in _declared_by(cls))


@pytest.mark.usefixtures("nothing_goes_on")
@pytest.mark.parametrize("name", SITUATIONS)
def test_every_key_fulfils_its_post_condition(name: str, request: pytest.FixtureRequest) -> None:
    situation = SITUATIONS[name]
    inventory = Inventory(situation, request.getfixturevalue(situation.lab))
    asyncio.run(inventory.press_all())
    assert not inventory.failed, "\n".join(f"{key}: {why}" for key, why in inventory.failed.items())
    wanted = set(situation.keys) or set().union(*map(_keys, situation.owners))
    assert wanted - set(inventory.keys) == set()


def test_every_binding_has_a_post_condition_and_no_other_is_left() -> None:
    ids = {str(binding.id) for _, binding in _declared()}
    assert ids - POSTCONDITIONS.keys() == set()
    assert POSTCONDITIONS.keys() - ids == set(_TEXTUALS)


def test_no_post_condition_holds_where_a_key_only_repaints_the_screen(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def press_all() -> set[str]:
        async with seated(recorded, _SIZE, run=Run(recorded / "runs" / "finished")) as seat:
            await SITUATIONS["chart"].arrange(seat)

            async def repaint(*_: object) -> bool:
                seat.screen.styles.background = "red" if seat.screen.styles.background.b else "blue"
                return True

            monkeypatch.setattr(seat.app, "run_action", repaint)
            bindings = {key: str(active.binding.id) for key, active in seat.screen.active_bindings.items()}
            pressed = {key: name for key, name in bindings.items() if name in POSTCONDITIONS}
            for key, name in pressed.items():
                holds = POSTCONDITIONS[name](seat)
                await seat.burst(key)
                assert not holds(), name
            return set(pressed.values())

    assert len(asyncio.run(press_all())) > 25


def test_nobody_s_bindings_are_left_out() -> None:
    pressed = {owner for situation in SITUATIONS.values() for owner in situation.owners}
    assert {cls for cls, _ in _declared()} - pressed == set()


def test_every_binding_has_a_name_and_explains_itself() -> None:
    declared = list(_declared())
    assert len(declared) > 80
    assert [(cls, binding.key) for cls, binding in declared if not binding.id or not binding.tooltip] == []
    assert [binding.key for _, binding in declared if binding.key in ("ctrl+a", "ctrl+b")] == []  # screen's, tmux's


def test_no_two_bindings_share_a_name() -> None:
    owners: dict[str, set[str]] = {}
    for _, binding in _declared():
        owners.setdefault(str(binding.id), set()).add(binding.action)
    assert {id: actions for id, actions in owners.items() if len(actions) > 1} == {}


@pytest.mark.parametrize("where", WANTED)
def test_the_keys_that_were_agreed_on_are_there(where: str) -> None:
    declared = {(binding.key, binding.id) for _, binding in _declared()}
    assert set(WANTED[where].items()) - declared == set()
