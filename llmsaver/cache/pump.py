"""One answer under way that several callers read: the first reads it for itself until others want it too.

From then on a reader of its own does, which outlives them: a thread under a synchronous client, a task on the first
caller's event loop else. A loop that ends takes its reader along, and who shared that answer then has no more of it.
"""

from __future__ import annotations

import asyncio
import copy
import sys
import threading
import time
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from llmsaver.core.response import Response
from llmsaver.core.runtime import Flight, drive
from llmsaver.errors import LLMSaverError, UpstreamError, in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.core.entry import Entry
    from llmsaver.core.outcome import Meter
    from llmsaver.core.request import Request
    from llmsaver.core.runtime import Runtime
    from llmsaver.core.usage import Usage
    from llmsaver.wire.dialect import Shaper

__all__ = ["Shared", "copied", "late", "until"]

# How often who waits looks whether the event loop that reads for it still exists.
LOOK_SECONDS = 1.0


class Shared:
    """An answer under way, from before it was asked for until its end; thread-safe.

    ``entry`` is the call that pays. ``response`` is the upstream's, once there is one, read or still arriving.
    ``error`` is what ended it, None for a good end. ``written``: the flights that land when the answer is in the store.
    ``retired`` is called once, when nobody may join any more.
    """

    __slots__ = (
        "__weakref__",
        "_chunks",
        "_context",
        "_lock",
        "_loop",
        "_news",
        "_pulling",
        "_pumped",
        "_readers",
        "_retired",
        "_task",
        "ended",
        "entry",
        "error",
        "form",
        "headers",
        "hides_usage",
        "over",
        "response",
        "terminal",
        "whole",
        "written",
    )

    def __init__(self, request: Request, retired: Callable[[Shared], None]) -> None:
        self.entry: Entry = request.entry
        self.form = _form(request)
        self.response: Response | None = None
        self.error: BaseException | None = None
        self.headers: dict[str, str] = {}
        self.hides_usage = False
        self.terminal: int | None = None
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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    # -- who reads ----------------------------------------------------------------------------------------------------

    def board(self) -> bool:
        """Join as a reader; False where it is too late. Each that joined leaves once."""
        with self._lock:
            if self.over:
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
        meter = None if response.meter is None else _Seen(self, reader, pays=True)
        outer = Response(response.status, response.headers, body=reader, meter=meter, carrier=response.carrier)
        response.carrier = None
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        # The client asked for usage that its caller did not: what it hides from the one it hides from all.
        self.hides_usage = getattr(request.carrier, "asked_usage", False) is True
        if not request.runtime.blocks:
            self._loop = asyncio.get_running_loop()
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
        meter = None if self.response.meter is None else _Seen(self, reader, pays=False)
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
            run = self._context.copy().run
            threading.Thread(target=run, args=(drive, self._pump()), name="llmsaver-pump", daemon=True).start()
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


class Reader:
    """A shared answer's bytes as one caller's body; only the one without a ``request`` reads the upstream itself."""

    __slots__ = ("_left", "_request", "_runtime", "_shaper", "_shared", "at")

    def __init__(
        self, shared: Shared, runtime: Runtime, request: Request | None = None, shaper: Shaper | None = None
    ) -> None:
        self.at = 0
        self._shared = shared
        self._runtime = runtime
        self._request = request
        self._shaper = shaper
        self._left = False

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> bytes:
        shaper = self._shaper
        while not self._left:
            chunk = await self._shared.take(self.at, self._runtime, self._request)
            if chunk is None:
                self._shaper = None
                tail = b"" if shaper is None else shaper.flush()
                if tail:
                    return tail
                break
            self.at += 1
            shaped = chunk if shaper is None else shaper.feed(chunk)
            # One that ends the answer is handed on even if nothing is left of it: the end is seen with it.
            if shaped or self.at == self._shared.terminal:
                return shaped
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Read no more; the upstream goes on for those who do."""
        if self._left:
            return
        self._left = True
        if self._request is None:
            await self._shared.close()
        else:
            self._shared.leave()


class _Seen:
    """The meter of one caller of a shared answer, which is measured once, as it comes from the upstream."""

    __slots__ = ("_pays", "_reader", "_shared")

    def __init__(self, shared: Shared, reader: Reader, *, pays: bool) -> None:
        self._shared = shared
        self._reader = reader
        self._pays = pays

    def feed(self, chunk: bytes) -> bool:  # noqa: ARG002 - it was measured before
        """Return whether this caller has been given the terminal event."""
        terminal = self._shared.terminal
        return terminal is not None and self._reader.at >= terminal

    @property
    def _meter(self) -> Meter:
        response = self._shared.response
        assert response is not None  # noqa: S101 - told to the type checker
        assert response.meter is not None  # noqa: S101 - or this would not have been made
        return response.meter

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""
        return self._meter.finished

    def usage(self) -> Usage | None:
        """Return what was used, for who pays; the others used nothing."""
        return self._meter.usage() if self._pays else None

    def message(self) -> dict[str, Any] | None:
        """Return the answer."""
        return self._meter.message()

    def facts(self) -> dict[str, Any] | None:
        """Return what the answer says of its own terms."""
        return self._meter.facts()


def copied(error: BaseException) -> Exception:
    """Return an error for another caller to raise: raising one object in several threads would mix up their traces."""
    if isinstance(error, UpstreamError):
        return UpstreamError(_copy(error.original))
    if isinstance(error, LLMSaverError):
        made: LLMSaverError = _copy(error)
        return made
    return LLMSaverError(f"the answer of an identical call, which this one shared, was cut short: {in_words(error)}")


def _copy(error: Any) -> Any:
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - a stranger's class may be made in its own way
        return error


def _form(request: Request) -> tuple[Any, Any]:
    return request.stream, request.body.get("stream_options")


def late(request: Request | None) -> UpstreamError:
    """Return the error of a caller whose time is over, as its own client would have raised it."""
    native = getattr(getattr(request, "carrier", None), "request", None)
    kind = getattr(sys.modules.get(type(native).__module__.partition(".")[0]), "ReadTimeout", None)
    said = "an identical call that was under way has not been answered in this one's time"
    return UpstreamError(TimeoutError(said) if kind is None else kind(said, request=native))


def until(request: Request) -> float | None:
    """Return until when a caller waits for the next bytes of its answer (monotonic seconds), None for ever."""
    native = getattr(request.carrier, "request", None)
    timeout = (getattr(native, "extensions", None) or {}).get("timeout") or {}
    waits = timeout.get("read")
    ends = [] if waits is None else [time.monotonic() + waits]
    if request.deadline is not None:
        ends.append(request.deadline)
    return min(ends, default=None)


def _nothing(_: Shared) -> None:
    """Retire twice."""
