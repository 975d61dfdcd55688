"""The only things a layer may await beside ``call_next`` and a body, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from llmsaver.core.background import Background
from llmsaver.core.started import InTask, InThread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from llmsaver.core.started import Started

T = TypeVar("T")

__all__ = ["AsyncRuntime", "Flight", "Runtime", "Suspended", "SyncRuntime", "drive"]


class Suspended(RuntimeError):  # noqa: N818 - a state, named as asyncio names CancelledError's kin
    """A coroutine driven for a synchronous client awaited something that needs an event loop."""


# How often one call may try to suspend: more than there are layers and callbacks to do it, fewer than a loop would.
PATIENCE = 100


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never really waits, as a synchronous client does.

    Where it suspends anyway, ``Suspended`` is raised at the very ``await`` that did it, so that the layer's guard can
    still return an answer it already holds; a coroutine that ignores that over and over is closed.
    """
    try:
        coroutine.send(None)
        for _ in range(PATIENCE):
            coroutine.throw(
                Suspended(
                    "awaited something that needs an event loop, under a synchronous client; "
                    "a layer may await call_next, a body and request.runtime only"
                )
            )
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a generator's value is untyped
    coroutine.close()
    raise Suspended("a coroutine kept waiting for an event loop under a synchronous client")


class Flight:
    """Something under way that others wait for, across threads and event loops; landed once, for good."""

    __slots__ = ("_callbacks", "_lock", "landed")

    def __init__(self) -> None:
        self.landed = False
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []

    def land(self) -> None:
        """Wake every waiter; further calls do nothing."""
        with self._lock:
            self.landed = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def block(self, timeout: float | None) -> bool:
        """Wait in this thread; return whether it landed in time."""
        event = threading.Event()
        self.add_callback(event.set)
        return event.wait(timeout)

    def add_callback(self, callback: Callable[[], object]) -> None:
        """Call back when it lands, from the landing thread; at once if it has."""
        with self._lock:
            if not self.landed:
                self._callbacks.append(callback)
                return
        callback()


class _Wakes:
    """Wakes the tasks of one event loop: however many flights land together, the loop itself is woken once."""

    __slots__ = ("_due", "_lock", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.Lock()
        self._due: list[asyncio.Future[None]] = []

    def add(self, waiter: asyncio.Future[None]) -> None:
        """Have a task woken, from any thread."""
        with self._lock:
            self._due.append(waiter)
            if len(self._due) > 1:
                return
        try:
            self.loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop was closed, and whoever waited there is gone
            self._due = []

    def _wake(self) -> None:
        with self._lock:
            due, self._due = self._due, []
        for waiter in due:
            if not waiter.done():
                waiter.set_result(None)


class _Here(threading.local):
    """The wakes of the event loop that this thread runs."""

    wakes: _Wakes | None = None


_here = _Here()


class Runtime(Protocol):
    """What differs between a synchronous and an asynchronous client; decided when the client is built.

    ``blocks``: whether waiting stops only the caller's own thread.
    """

    blocks: bool

    async def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Run blocking ``fn`` without stopping an event loop."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def gather(self, *awaitables: Awaitable[T]) -> list[T]:
        """Run side by side; results in order, the first error raised after all have ended."""

    def start(self, begin: Callable[[], Awaitable[T]]) -> Started[T]:
        """Run what ``begin`` returns beside the caller, who may stop waiting for it."""

    async def wait(self, flight: Flight, seconds: float | None = None) -> bool:
        """Wait for a flight, in no worker thread; return whether it landed in time (None: wait for ever)."""

    def detach(self, fn: Callable[[], object]) -> bool:
        """Queue background work on the Saver's own thread; return False where the queue was full."""


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


class SyncRuntime:
    """Nothing here suspends: each awaitable is done when its first ``send`` returns."""

    blocks = True

    def __init__(self, background: Background | None = None) -> None:
        self.background = background or Background()

    async def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Call ``fn`` in this thread."""
        return fn(*args)

    async def sleep(self, seconds: float) -> None:
        """Sleep in this thread."""
        time.sleep(max(0.0, seconds))  # noqa: ASYNC251 - a synchronous client's thread is what must wait here

    async def gather(self, *awaitables: Awaitable[T]) -> list[T]:
        """Drive each in a thread of its own, with the caller's context variables."""
        if len(awaitables) <= 1:
            return [await awaitable for awaitable in awaitables]
        with ThreadPoolExecutor(len(awaitables), thread_name_prefix="llmsaver-gather") as pool:
            futures = [pool.submit(copy_context().run, drive, _awaited(awaitable)) for awaitable in awaitables]
        return [future.result() for future in futures]

    def start(self, begin: Callable[[], Awaitable[T]]) -> Started[T]:
        """Drive it in a thread of its own."""
        return InThread(Flight(), begin, drive)

    async def wait(self, flight: Flight, seconds: float | None = None) -> bool:
        """Block this thread on the flight."""
        return flight.block(seconds)

    def detach(self, fn: Callable[[], object]) -> bool:
        """Queue ``fn`` on the background thread."""
        return self.background.submit(fn)


class AsyncRuntime:
    """The same on asyncio; outside a loop (an answer collected by the garbage collector) it does not suspend."""

    blocks = False

    def __init__(self, background: Background | None = None) -> None:
        self.background = background or Background()

    async def offload(self, fn: Callable[..., T], *args: Any) -> T:
        """Run ``fn`` in a worker thread of the loop, with the caller's context variables."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return fn(*args)
        return await asyncio.to_thread(fn, *args)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the loop."""
        await asyncio.sleep(seconds)

    async def gather(self, *awaitables: Awaitable[T]) -> list[T]:
        """Run as tasks; wait for all, then raise the first error there was."""
        results = await asyncio.gather(*awaitables, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    def start(self, begin: Callable[[], Awaitable[T]]) -> Started[T]:
        """Run it as a task."""
        return InTask(Flight(), begin)

    async def wait(self, flight: Flight, seconds: float | None = None) -> bool:
        """Wait on a future of this loop, which is woken once for all flights that land together."""
        if flight.landed:
            return True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return flight.block(seconds)
        wakes = _here.wakes
        if wakes is None or wakes.loop is not loop:
            wakes = _here.wakes = _Wakes(loop)
        landed = loop.create_future()
        flight.add_callback(partial(wakes.add, landed))
        if seconds is None:
            await landed
            return True
        await asyncio.wait((landed,), timeout=seconds)
        return flight.landed

    def detach(self, fn: Callable[[], object]) -> bool:
        """Queue ``fn`` on the background thread."""
        return self.background.submit(fn)
