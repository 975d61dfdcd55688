"""Something that runs beside the caller, which may stop waiting for it."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from llmsaver.errors import in_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from llmsaver.core.runtime import Flight

T = TypeVar("T")

__all__ = ["InTask", "InThread", "Started"]

log = logging.getLogger("llmsaver")


class Started(Generic[T]):
    """Something under way: wait for its ``flight`` with ``runtime.wait``, then take its ``result``, or drop it."""

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self._result: T | None = None
        self._error: BaseException | None = None
        self._unwanted: Callable[[T], Awaitable[object]] | None = None
        self._lock = threading.Lock()

    def result(self) -> T:
        """Return what it came to, or raise what it raised; only once the flight has landed."""
        if self._error is not None:
            raise self._error
        return cast("T", self._result)

    async def drop(self, unwanted: Callable[[T], Awaitable[object]]) -> None:
        """Stop waiting; what it has come to, or comes to later, is given to ``unwanted`` (which closes it)."""
        with self._lock:
            landed, self._unwanted = self.flight.landed, unwanted
        if landed:
            await self._give_up()
        else:
            self._stop()

    def _stop(self) -> None:
        """End it where it can be ended."""

    async def _run(self, begin: Callable[[], Awaitable[T]]) -> None:
        try:
            self._result = await begin()
        except BaseException as error:
            self._error = error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            with self._lock:
                self.flight.land()
                dropped = self._unwanted is not None
        if dropped:
            await self._give_up()

    async def _give_up(self) -> None:
        if self._error is not None or self._unwanted is None:
            return
        try:
            await self._unwanted(cast("T", self._result))
        except Exception as error:  # noqa: BLE001 - nobody waits for it any more
            log.debug("llmsaver: what nobody waited for could not be closed: %s", in_words(error))


class InThread(Started[T]):
    """In a thread of its own, with the caller's context variables; it runs to its end, whoever waits."""

    def __init__(
        self, flight: Flight, begin: Callable[[], Awaitable[T]], drive: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        super().__init__(flight)
        in_context = copy_context().run
        threading.Thread(
            target=lambda: in_context(drive, self._run(begin)), name="llmsaver-started", daemon=True
        ).start()


class InTask(Started[T]):
    """In a task of the running loop, which is cancelled where nobody waits any more."""

    def __init__(self, flight: Flight, begin: Callable[[], Awaitable[T]]) -> None:
        super().__init__(flight)
        self._task = asyncio.get_running_loop().create_task(self._run(begin))
        _tasks.add(self._task)
        self._task.add_done_callback(_tasks.discard)

    def _stop(self) -> None:
        self._task.cancel()


# A loop keeps only weak references to its tasks.
_tasks: set[asyncio.Task[None]] = set()
