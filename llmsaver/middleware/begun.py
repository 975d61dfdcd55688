"""A stream that has begun: its first event is here, and until then nobody above has seen anything of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.core.response import Response
from llmsaver.wire import DIALECTS
from llmsaver.wire.sse import Framer

if TYPE_CHECKING:
    from llmsaver.core.usage import Usage

__all__ = ["begun"]


async def begun(response: Response, dialect: str) -> Response:
    """Return an answer like ``response`` whose first event has arrived.

    Where it failed before, or with it, the answer returned is read, and its outcome is not complete. Raises what its
    body raises. Comments that only keep a connection alive are no events.
    """
    held: list[bytes] = []
    framer = Framer()
    async for chunk in response:
        held.append(chunk)
        if any(event.data for event in framer.feed(chunk)) or response.outcome is not None:
            break
    ended = response.outcome
    if ended is not None and not ended.complete:
        await response.aclose()
        meter = DIALECTS[dialect].meter(streamed=True)
        return Response(response.status, response.headers, content=b"".join(held), meter=meter)
    return Response(
        response.status,
        response.headers,
        body=_Held(response, held),
        meter=_Same(response, held),
        carrier=response.carrier,
    )


class _Held:
    """The body of an answer of which some was read ahead."""

    __slots__ = ("_held", "_response")

    def __init__(self, response: Response, held: list[bytes]) -> None:
        self._response = response
        self._held = held

    def __aiter__(self) -> _Held:
        return self

    async def __anext__(self) -> bytes:
        if self._held:
            return self._held.pop(0)
        return await self._response.__anext__()

    async def aclose(self) -> None:
        """Close the answer itself."""
        self._held.clear()
        await self._response.aclose()


class _Same:
    """The meter of the answer itself, which has been shown everything already."""

    __slots__ = ("_held", "_response")

    def __init__(self, response: Response, held: list[bytes]) -> None:
        self._response = response
        self._held = held

    def feed(self, chunk: bytes) -> bool:  # noqa: ARG002 - the answer's own meter was shown it
        """Return whether the answer has ended and nothing of it is held any more."""
        return not self._held and self._response.outcome is not None

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""
        meter = self._response.meter
        return meter is None or meter.finished

    def usage(self) -> Usage | None:
        """Return what the provider reported."""
        return None if self._response.meter is None else self._response.meter.usage()

    def message(self) -> dict[str, Any] | None:
        """Return the answer as one JSON object."""
        return None if self._response.meter is None else self._response.meter.message()

    def facts(self) -> dict[str, Any] | None:
        """Return what the answer says of its own terms."""
        return None if self._response.meter is None else self._response.meter.facts()
