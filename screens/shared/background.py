"""Blocking work in daemon threads, whose results are delivered to a widget on the UI thread.

Reading a directory, acquiring a lock and starting a process may take seconds, or never end if a network drive hangs, so
none of them is done on the UI thread. Unlike the thread workers of Textual, daemon threads are not joined at exit: a
directory that hangs cannot keep the program from exiting.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from textual._context import NoActiveAppError
from textual.app import App
from textual.message_pump import MessagePump

from engines.errors import UserError

T = TypeVar("T")


def deliver(node: MessagePump, callback: Callable[..., object], *arguments: Any) -> None:
    """Run a callback on the UI thread; drop it if the widget was removed or the app is exiting.

    Unlike `App.call_from_thread` it neither waits nor raises if the widget no longer exists.
    """

    def run() -> object:
        is_removed = not isinstance(node, App) and (not node.is_attached or getattr(node, "_pruning", False))
        return None if is_removed else callback(*arguments)

    with contextlib.suppress(NoActiveAppError):  # the widget was removed in the meantime
        node.call_later(run)


class _WorkQueue:
    """A queue of work with one daemon thread, which exits when the queue is empty."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self.is_busy = False

    def put(self, work: Callable[[], None], replace: bool) -> None:
        """Add work, in place of what is waiting if `replace` is set."""
        with self._lock:
            self._waiting = [work] if replace else [*self._waiting, work]
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


_queues: WeakKeyDictionary[MessagePump, dict[str, _WorkQueue]] = WeakKeyDictionary()


def run_in_background(
    node: MessagePump,
    work: Callable[[], T],
    then: Callable[[T], object] | None = None,
    failed: Callable[[UserError], object] | None = None,
    group: str = "",
    queue: bool = False,
) -> None:
    """Run `work` in a thread and then, on the UI thread, `then` with its result or `failed` with its UserError.

    A widget has one thread per group of work. New work replaces waiting work of its group, or is done after it if
    `queue` is set. Without `failed`, an error is shown as a toast.
    """

    def run() -> None:
        try:
            result = work()
        except UserError as error:
            deliver(node, failed or partial(_show_error, node), error)
        except Exception as error:
            deliver(node, _raise, error)
        else:
            if then:
                deliver(node, then, result)

    _queues.setdefault(node, {}).setdefault(group, _WorkQueue()).put(run, replace=not queue)


def is_busy(node: MessagePump, group: str = "") -> bool:
    """Return whether work of a group is running or waiting."""
    work_queue = _queues.get(node, {}).get(group)
    return work_queue is not None and work_queue.is_busy


def is_idle() -> bool:
    """Return whether no work of any widget is running or waiting."""
    return not any(work_queue.is_busy for groups in list(_queues.values()) for work_queue in list(groups.values()))


async def in_background(work: Callable[[], T]) -> T:
    """Run `work` in a thread and return its result, without blocking the event loop."""
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
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, *outcome)

    start_daemon(run)
    return await future


def start_daemon(run: Callable[[], object]) -> None:
    """Start a daemon thread, which is not joined when the program exits."""
    threading.Thread(target=run, name="dashboard-background", daemon=True).start()


def _show_error(node: MessagePump, error: UserError) -> None:
    node.app.notify(str(error), severity="error")


def _raise(error: Exception) -> None:
    """Raise an exception on the UI thread, where the app handles it."""
    raise error
