"""One answer under way that several callers read: the first reads it for itself until others want it too.

From then on a reader of its own does, which outlives them: a thread under a synchronous client, a task on the first
caller's event loop else. A loop that ends takes its reader along, and who shared that answer then has no more of it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from llmsaver.cache.reader import Reader, Seen
from llmsaver.cache.waiting import copied, late, until
from llmsaver.core.response import Response
from llmsaver.core.runtime import Flight, drive
from llmsaver.errors import LLMSaverError, UpstreamError, in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.core.entry import Entry
    from llmsaver.core.request import Request
    from llmsaver.core.runtime import Runtime
    from llmsaver.wire.dialect import Shaper

__all__ = ["Shared"]

# How often who waits looks whether the event loop that reads for it still exists.
LOOK_SECONDS = 1.0


class Shared:
    """An answer under way, from before it was asked for until its end; thread-safe.

    ``entry`` is the call that pays. ``response`` is the upstream's, once there is one, read or still arriving.
    ``error`` is what ended it, None for a good end; ``successor`` is what those who waited in vain then waited for.
    ``written``: the flights that land when the answer is in the store.
    ``retired`` is called once, when nobody may join any more.
    """

    def __init__(self, request: Request, retired: Callable[[Shared], None]) -> None:
        self.entry: Entry = request.entry
        self.form = _form(request)
        self.response: Response | None = None
        self.error: BaseException | None = None
        self.headers: dict[str, str] = {}
        self.hides_usage = False
        self.terminal: int | None = None
        self.successor: Shared | None = None
        self.written: list[Flight] = []
        self.whole: bytes | None = None
        self.over = self.ended = False
        self._retired = retired
        self._lock = threading.Lock()
        self._news = Flight()
        self._chunks: list[bytes] = []
        self._readers = 1
        self._pulling = self._pumped = False
        self._context: Context | None = None
        self._loop = None if request.runtime.blocks else asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    # -- who reads ----------------------------------------------------------------------------------------------------

    def board(self, *, late: bool = False) -> bool:
        """Join as a reader; False where it is too late, unless that does not matter. Each that joined leaves once."""
        with self._lock:
            if self.over and not late:
                return False
            self._readers += 1
            start = self._must_pump()
        if start:
            self._start()
        return True

    def leave(self) -> None:
        """Be no reader any more."""
        with self._lock:
            self._readers -= 1

    def blocked_by(self, runtime: Runtime) -> bool:
        """Whether waiting for it here, in a thread, would stop the event loop that it comes from."""
        if self._loop is None or not runtime.blocks:
            return False
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    async def ready(self, request: Request) -> None:
        """Wait for the end, or where ``request`` can be given bytes as they come, for the first of them.

        Raises ``UpstreamError`` once this caller would have stopped waiting for its own call.
        """
        while True:
            with self._lock:
                done = self.ended or self.terminal is not None
                if done or (self._pumped and self._chunks and self.suits(request)):
                    return
                news = self._news
            await self.wait(news, request.runtime, request)

    def suits(self, request: Request) -> bool:
        """Whether the bytes that arrive are those which ``request`` asks for."""
        return self.response is not None and self.response.streamed and request.stream and self.form == _form(request)

    @property
    def flows(self) -> bool:
        """Whether there are bytes to hand on, of an answer that has not failed."""
        return bool(self._chunks) and (self.terminal is not None or not self.ended)

    @property
    def failed(self) -> bool:
        """Whether the upstream refused, or could not be reached; not so where the call was stopped."""
        return isinstance(self.error, UpstreamError) or (self.response is not None and not self.response.ok)

    def streaming(self, response: Response, request: Request) -> Response:
        """Take an answer that is still arriving and return what the first caller reads."""
        reader = Reader(self, request.runtime)
        meter = None if response.meter is None else Seen(self, reader, pays=True)
        outer = Response(response.status, response.headers, body=reader, meter=meter, carrier=response.carrier)
        response.carrier = None
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        # The client asked for usage that its caller did not: what it hides from the one it hides from all.
        self.hides_usage = getattr(request.carrier, "asked_usage", False) is True
        self._context = copy_context()
        with self._lock:
            self.response = response
            start = self._must_pump()
            news, self._news = self._news, Flight()
        if start:
            self._start()
        news.land()
        return outer

    def follower(self, request: Request, shaper: Shaper | None) -> Response:
        """Return the answer as another caller reads it, who has boarded."""
        assert self.response is not None  # noqa: S101 - told to the type checker
        reader = Reader(self, request.runtime, request, shaper)
        meter = None if self.response.meter is None else Seen(self, reader, pays=False)
        return Response(self.response.status, dict(self.headers), body=reader, meter=meter)

    # -- how it goes on -----------------------------------------------------------------------------------------------

    def land(self, response: Response) -> None:
        """End with an answer that has been read."""
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.response = response
        self.finish(None)

    def finish(self, error: BaseException | None) -> None:
        """End; further calls do nothing."""
        with self._lock:
            if self.ended:
                return
            self.ended, self.error = True, error
            news, self._news = self._news, Flight()
        self._retire()
        news.land()

    async def take(self, at: int, runtime: Runtime, request: Request | None) -> bytes | None:
        """Return the chunk at a place, read or waited for; None at the end. The first caller has no ``request``."""
        while True:
            with self._lock:
                if at < len(self._chunks):
                    return self._chunks[at]
                if self.ended:
                    break
                pull = request is None and not self._pumped
                self._pulling = self._pulling or pull
                news = self._news
            if pull:
                await self._pull()
            else:
                await self.wait(news, runtime, request)
        if self.error is None:
            return None
        raise self.error if request is None and isinstance(self.error, LLMSaverError) else copied(self.error)

    async def wait(self, news: Flight, runtime: Runtime, request: Request | None) -> None:
        """Wait until something changes; the first caller, whose upstream has a time-out, as long as it takes."""
        end = None if request is None else until(request)
        while True:
            left = LOOK_SECONDS if end is None else min(LOOK_SECONDS, end - time.monotonic())
            if await runtime.wait(news, max(0.0, left)):
                return
            if self._loop is not None and self._loop.is_closed():
                self.finish(RuntimeError("the event loop that read the answer was closed"))
            elif end is not None and time.monotonic() >= end:
                raise late(request)

    async def close(self) -> None:
        """Let the first caller go; with nobody else reading, the upstream is closed."""
        with self._lock:
            self._readers -= 1
            pumped = self._pumped
            self.over = self.over or not pumped
        if not pumped and self.response is not None:
            try:
                await self.response.aclose()
            finally:
                self.finish(None if self.terminal is not None else RuntimeError("closed before the end"))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _must_pump(self) -> bool:
        """Return whether a reader of its own is to be started now; under the lock."""
        wanted = self.response is not None and self._readers > 1 and not (self._pumped or self._pulling or self.ended)
        self._pumped = self._pumped or wanted
        return wanted

    def _start(self) -> None:
        if self._loop is None:
            assert self._context is not None  # noqa: S101 - told to the type checker
            pump = self._pump()
            args = (drive, pump)
            try:
                threading.Thread(target=self._context.run, args=args, name="llmsaver-pump", daemon=True).start()
            except RuntimeError:  # no more threads: the first caller reads on, and the others get the whole
                pump.close()
                self._pumped = False
            return
        try:
            self._loop.call_soon_threadsafe(self._start_task)
        except RuntimeError as error:
            self.finish(error)

    def _start_task(self) -> None:
        assert self._loop is not None  # noqa: S101 - told to the type checker
        self._task = self._loop.create_task(self._pump(), name="llmsaver-pump", context=self._context)
        self._task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """Make an end where the task had none: it may be cancelled before its first step."""
        if task.cancelled():
            self.finish(RuntimeError("the event loop that read the answer has ended"))

    async def _pump(self) -> None:
        """Read to the end, or until nobody is left who wants it."""
        assert self.response is not None  # noqa: S101 - told to the type checker
        try:
            while not self.ended:
                with self._lock:
                    if self._readers <= 0:
                        self.over = True
                        break
                await self._pull(pumping=True)
            await self.response.aclose()
        except Exception as error:  # noqa: BLE001 - it is told to whoever reads
            self.finish(error)
        finally:
            self.finish(None if self.terminal is not None else RuntimeError("nobody read on"))

    async def _pull(self, *, pumping: bool = False) -> None:
        """Read one chunk of the upstream's; what ends it is for ``take`` to tell."""
        assert self.response is not None  # noqa: S101 - told to the type checker
        start, error, chunk = False, None, None
        try:
            chunk = await self.response.__anext__()
        except StopAsyncIteration:
            pass
        except Exception as failure:  # noqa: BLE001 - told to everyone who reads
            error = failure
        except BaseException as failure:
            self.finish(RuntimeError(f"the call that read the answer was stopped: {in_words(failure)}"))
            raise
        finally:
            with self._lock:
                self._pulling = False
                if chunk is not None:
                    self._chunks.append(chunk)
                    if self.terminal is None and self.response.outcome is not None:
                        self.terminal = len(self._chunks)
                    start = not pumping and self._must_pump()
                news, self._news = self._news, Flight()
        if chunk is None:
            self.finish(error)
        elif self.terminal is not None:
            self._retire()
        if start:
            self._start()
        news.land()

    def _retire(self) -> None:
        with self._lock:
            retired, self._retired = self._retired, _nothing
            self.over = True
        retired(self)


def _form(request: Request) -> tuple[Any, Any]:
    return request.stream, request.body.get("stream_options")


def _nothing(_: Shared) -> None:
    """Retire twice."""
