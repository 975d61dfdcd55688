"""The only things a layer may await beside ``call_next`` and a body, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from llmsaver.core.background import Background

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

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

    __slots__ = ("_callbacks", "_event", "_lock")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []

    @property
    def landed(self) -> bool:
        """Whether it is over."""
        return self._event.is_set()

    def land(self) -> None:
        """Wake every waiter; further calls do nothing."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def block(self, timeout: float | None) -> bool:
        """Wait in this thread; return whether it landed in time."""
        return self._event.wait(timeout)

    def add_callback(self, callback: Callable[[], object]) -> None:
        """Call back when it lands, from the landing thread; at once if it has."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()


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

    async def wait(self, flight: Flight, seconds: float | None = None) -> bool:
        """Wait on an event of this loop which the landing thread sets."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return flight.block(seconds)
        landed = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed, and whoever waited there is gone
                loop.call_soon_threadsafe(landed.set)

        flight.add_callback(wake)
        try:
            await asyncio.wait_for(landed.wait(), seconds)
        except TimeoutError:
            return flight.landed
        return True

    def detach(self, fn: Callable[[], object]) -> bool:
        """Queue ``fn`` on the background thread."""
        return self.background.submit(fn)
