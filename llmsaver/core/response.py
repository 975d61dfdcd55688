"""An answer on its way up the stack, and the one moment at which it is settled."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import math
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.core.orphans import locked_here, orphans
from llmsaver.core.outcome import Given, Outcome
from llmsaver.core.runtime import drive
from llmsaver.errors import in_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from llmsaver.core.outcome import Body, Meter

__all__ = ["Response"]

log = logging.getLogger("llmsaver")


class _Forks:
    """How often this process has come out of a fork."""

    count = 0

    @classmethod
    def one_more(cls) -> None:
        cls.count += 1


os.register_at_fork(after_in_child=_Forks.one_more)


async def _settle(pending: list[Awaitable[object]]) -> None:
    """Await what completion callbacks returned; an exception in one is logged and costs nobody the answer."""
    while pending:
        try:
            await pending.pop(0)
        except Exception:
            log.warning("llmsaver: a completion callback failed", exc_info=True)


class Response:
    """Status, headers and a body that is either read (``content``) or still arriving (``body``).

    ``read()`` it, as often as needed and before or instead of iterating: what was read is replayed. A body that is
    iterated unread is gone: ``read()`` raises ``RuntimeError`` then. ``on_complete`` callbacks run exactly once, before
    the bytes of the terminal event are handed on. Header names are found in lower case.
    """

    __slots__ = (
        "_body",
        "_callbacks",
        "_content",
        "_feed",
        "_forks",
        "_outcome",
        "_pending",
        "_touched",
        "carrier",
        "headers",
        "meter",
        "status",
    )

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str] | None = None,
        *,
        content: bytes | None = None,
        body: Body | None = None,
        meter: Meter | None = None,
        carrier: Any = None,
    ) -> None:
        given: tuple[Any, Any] = (status, content)  # a layer's author may not check types
        if not isinstance(given[0], int) or not isinstance(given[1], bytes | None):
            raise TypeError(f"a Response has an int status and bytes, not {status!r} and {type(content).__name__}")
        self.status = status
        # A client's own headers ignore case and are kept; a layer's dict may be written either way.
        named = {} if headers is None else headers
        self.headers = {name.lower(): value for name, value in named.items()} if type(named) is dict else named
        self.meter = meter
        self.carrier = carrier
        self._content = content if body is None else None
        self._body = body
        self._touched = False
        self._forks = _Forks.count
        self._pending: list[Awaitable[object]] = []
        self._callbacks: list[Callable[[Outcome], object]] = []
        self._outcome: Outcome | None = None
        self._feed = meter.feed if meter is not None else None
        if body is None:
            self._content = content or b""
            self._terminal(self._content)
            self._feed = None
            self._outcome = Outcome(meter, status, None)

    @classmethod
    def of(cls, message: Mapping[str, Any], status: int = 200) -> Response:
        """Make an answer from a JSON object of the request's dialect; a streaming caller gets it as events."""
        try:
            content = json.dumps(message, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            content = json.dumps(message).encode()  # a lone surrogate has no UTF-8, but an escape
        return cls(status, {"content-type": "application/json"}, content=content, meter=Given(message))

    @property
    def ok(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's success range

    @property
    def streamed(self) -> bool:
        """Whether the body is made of server-sent events."""
        return self.headers.get("content-type", "").lower().startswith("text/event-stream")

    @property
    def content(self) -> bytes | None:
        """The whole body where it has been read, else None."""
        return self._content

    @property
    def intact(self) -> bool:
        """Whether the whole body can still be handed to somebody: it was read, or neither iterated nor closed."""
        return self._content is not None or not self._touched

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, or None while it is still arriving."""
        return self._outcome

    @property
    def retry_after(self) -> float | None:
        """Seconds the provider asks to wait (``retry-after-ms`` or ``retry-after`` in seconds), or None."""
        for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            try:
                seconds = float(self.headers[name]) * scale
            except (KeyError, ValueError):
                continue
            if math.isfinite(seconds):
                return max(0.0, seconds)
        return None

    def on_complete(self, fn: Callable[[Outcome], object]) -> None:
        """Call ``fn(outcome)`` once when the answer has ended; at once where it has.

        ``fn`` may return an awaitable: it is awaited before the answer's last bytes (or a read answer) are handed on.
        An exception in it is logged and costs nobody the answer.
        """
        if self._outcome is None:
            orphans.ready()
            self._callbacks.append(fn)
        else:
            self._call(fn)

    async def read(self) -> bytes:
        """Return the whole body, reading it where needed; what was read stays available to iterate."""
        if self._content is None:
            if self._touched:
                raise RuntimeError("the body was iterated or closed before; read() it first to keep it")
            parts = [chunk async for chunk in self]
            self._content = b"".join(parts)
            await self.aclose()
        return self._content

    async def json(self) -> Any:
        """Return the answer as one JSON value; a streamed one is assembled from its events."""
        content = await self.read()
        if self.streamed and self._outcome is not None:
            return self._outcome.message
        return json.loads(content)

    def __aiter__(self) -> Response:
        if self._body is None:
            self._touched = False  # what is read is replayed to everyone who iterates
        return self

    async def __anext__(self) -> bytes:
        body = self._body
        if body is None:
            if self._touched or self._content is None:
                raise StopAsyncIteration
            self._touched = True
            return self._content
        self._touched = True
        try:
            chunk = await body.__anext__()
        except StopAsyncIteration:
            await self._end(None)
            raise
        except GeneratorExit:
            # Nothing may be awaited in a coroutine that is being closed: what callbacks owe waits for collection.
            self._conclude("abandoned before the end")
            raise
        except BaseException as error:
            await self._end(in_words(error))
            raise
        if self._terminal(chunk):
            await self._end(None)
        return chunk

    def _terminal(self, chunk: bytes) -> bool:
        """Show the meter the next bytes; return whether they end the answer. A meter that fails is shown no more."""
        if self._feed is None:
            return False
        try:
            return self._feed(chunk)
        except Exception:
            log.warning("llmsaver: a provider's payload could not be read", exc_info=True)
            self._feed = None
            return False

    async def aclose(self) -> None:
        """Give up what has not been read, close the upstream and settle."""
        body = self._body
        try:
            if body is not None:
                await body.aclose()
        finally:
            if self._outcome is None:
                await self._end("closed before the end")
            if self._content is not None:
                self._body, self._touched = None, False
            else:
                self._touched = True

    @property
    def owes(self) -> bool:
        """Whether callbacks are still to be waited for."""
        return bool(self._pending)

    async def settled(self) -> None:
        """Wait for callbacks that a read answer still owes."""
        if self._pending:
            await _settle(self._pending)

    async def _end(self, error: str | None) -> None:
        self._conclude(error)
        await self.settled()

    def _conclude(self, error: str | None) -> None:
        """Settle, once; ``error`` says what cut the answer short, None where its body came to its end."""
        if self._outcome is not None:
            return
        self._feed = None
        self._outcome = Outcome(self.meter, self.status, error)
        callbacks, self._callbacks = self._callbacks, []
        if self._forks != _Forks.count:
            return  # a forked child's copy: what has become of the answer is for the parent to say
        for fn in callbacks:
            self._call(fn)

    def _call(self, fn: Callable[[Outcome], object]) -> None:
        try:
            result = fn(self._outcome)  # type: ignore[arg-type]  # set before any callback runs
        except Exception:
            log.warning("llmsaver: a completion callback failed", exc_info=True)
            return
        if result is not None and inspect.isawaitable(result):
            self._pending.append(result)

    def __del__(self) -> None:
        try:
            if self._outcome is not None and not self._pending:
                return
        except AttributeError:
            return  # __init__ itself failed
        if locked_here():
            orphans.leave(self._orphaned)
        else:
            self._orphaned()

    def _orphaned(self) -> None:
        """Settle an answer nobody read to the end: it was paid for."""
        self._conclude("never read to the end")
        if not self._pending:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            drive(_settle(self._pending))
        else:
            # A collector cannot wait for this loop; a thread without one can.
            orphans.leave(partial(drive, _settle(self._pending)))
