"""Work that may block, in daemon threads, and its results, delivered to the widget that asked for them.

Reading a folder, taking a lock, starting a process: each may take seconds, or forever where a network drive hangs. None
of it is done on the UI thread, which answers keys. Daemon threads are not joined when the program exits, unlike
Textual's thread workers, so that a folder that hangs cannot keep the program from exiting.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from textual._context import NoActiveAppError
from textual.app import App
from textual.message_pump import MessagePump

from engines.errors import UserError

T = TypeVar("T")


def deliver(node: MessagePump, callback: Callable[..., object], *arguments: Any) -> None:
    """Run a callback on the UI thread; drop it if the widget was removed or the app is exiting.

    Unlike `App.call_from_thread` it neither waits nor raises: a thread may finish after its widget is gone.
    """

    def run() -> object:
        is_removed = not isinstance(node, App) and (not node.is_attached or getattr(node, "_pruning", False))
        return None if is_removed else callback(*arguments)

    with contextlib.suppress(NoActiveAppError):  # the widget is removed while it is called
        node.call_later(run)


class _Lane:
    """The work queue of one group of one widget, with a daemon thread while it is not empty."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self.is_busy = False

    def put(self, work: Callable[[], None], queue: bool) -> None:
        with self._lock:
            self._waiting = [*self._waiting, work] if queue else [work]
            if not self.is_busy:
                self.is_busy = True
                start_daemon(self._run)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self.is_busy = False
                    return
                work = self._waiting.pop(0)
            work()


_lanes: WeakKeyDictionary[MessagePump, dict[str, _Lane]] = WeakKeyDictionary()


def run_in_background(
    node: MessagePump,
    work: Callable[[], T],
    then: Callable[[T], object] | None = None,
    failed: Callable[[UserError], object] | None = None,
    group: str = "",
    queue: bool = False,
) -> None:
    """Run `work` in a thread and then, on the UI thread, `then` with its result or `failed` with its UserError.

    The work of one group of a widget is done one after the other. What waits is replaced by what comes after it, unless
    it is a `queue`. Without `failed` the error is shown.
    """

    def run() -> None:
        try:
            result = work()
        except UserError as error:
            deliver(node, failed or _show, *([error] if failed else [node, error]))
        except Exception as error:
            deliver(node, _raise, error)
        else:
            if then:
                deliver(node, then, result)

    _lanes.setdefault(node, {}).setdefault(group, _Lane()).put(run, queue)


def is_busy(node: MessagePump, group: str = "") -> bool:
    """Return whether work of this group is running or waiting."""
    lane = _lanes.get(node, {}).get(group)
    return lane is not None and lane.is_busy


def is_idle() -> bool:
    """Return whether no widget waits for any work."""
    return not any(lane.is_busy for lanes in list(_lanes.values()) for lane in list(lanes.values()))


async def in_background(work: Callable[[], T]) -> T:
    """Wait for work that is done in a thread, without blocking the UI thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(method: Callable[[Any], None], result: object) -> None:
        if not future.done():
            method(result)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], object] = future.set_result, work()
        except BaseException as error:
            outcome = future.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, *outcome)

    start_daemon(run)
    return await future


def start_daemon(run: Callable[[], object]) -> None:
    """Start a thread that is not waited for when the program exits."""
    threading.Thread(target=run, name="dashboard-background", daemon=True).start()


def _show(node: MessagePump, error: UserError) -> None:
    node.app.notify(str(error), severity="error")


def _raise(error: Exception) -> None:
    """An unexpected exception is handled where those of the UI thread are."""
    raise error
