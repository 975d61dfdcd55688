"""A shared answer as one of its callers reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmsaver.cache.pump import Shared
    from llmsaver.core.outcome import Meter
    from llmsaver.core.request import Request
    from llmsaver.core.runtime import Runtime
    from llmsaver.core.usage import Usage
    from llmsaver.wire.dialect import Shaper

__all__ = ["Reader", "Seen"]


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


class Seen:
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
