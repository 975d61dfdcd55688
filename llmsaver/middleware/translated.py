"""An answer that came in another dialect than the caller's, told in the caller's."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from llmsaver.core.response import Response
from llmsaver.errors import MiddlewareError
from llmsaver.wire import DIALECTS
from llmsaver.wire.payload import parse
from llmsaver.wire.translate import Untranslatable, answer_to, error_to, stream_to

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.outcome import Meter, Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.usage import Usage
    from llmsaver.wire.translate_stream import Retelling

__all__ = ["translated"]

log = logging.getLogger("llmsaver")

_FRAMING = frozenset({"content-length", "content-encoding", "transfer-encoding", "content-type"})
# Where each vendor's SDK looks for the id under which the vendor knows a request.
_REQUEST_ID = {"chat": "x-request-id", "messages": "request-id"}
_BAD_GATEWAY = 502


def translated(response: Response, request: Request, spoken: str) -> Response:
    """Return an answer of the dialect ``spoken`` as one of the caller's dialect, which is that of ``request``.

    Status and what the headers say stay; a stream stays a stream, and what has been read stays read. The outcome is of
    the caller's dialect, its usage known even where the caller did not ask to see it. Closing it closes ``response``.
    A whole answer that cannot be told is a 502 where it has been read already, else ``MiddlewareError`` when it is.
    Raises ``Untranslatable`` where there is no translation between the two dialects.
    """
    dialect = request.dialect
    if spoken == dialect:
        return response
    told: _Whole | _Streamed
    meter: Meter | None
    if response.ok and response.streamed:
        retelling = stream_to(dialect, source=spoken, asked=request.body)
        told, meter = _Streamed(response, retelling), _Retold(DIALECTS[dialect].meter(streamed=True), retelling)
    else:
        told, meter = (
            _Whole(response, dialect, spoken),
            DIALECTS[dialect].meter(streamed=False) if response.ok else None,
        )
    headers = _headers(response, dialect, spoken)
    content = response.content
    if content is None:
        return Response(response.status, headers, body=told, meter=meter)
    status = response.status
    try:
        content = told.whole(content)
    except Untranslatable as error:
        log.warning("llmsaver: an answer could not be told in the %s dialect: %s", dialect, error.why)
        status, meter = _BAD_GATEWAY, None
        content = error_to(dialect, json.dumps({"message": error.why}).encode(), status, source=spoken)
    outer = Response(status, headers, content=content, meter=meter)

    def settled(_: Outcome) -> Any:
        return response.settled()

    if response.owes:
        outer.on_complete(settled)
    return outer


def _headers(response: Response, dialect: str, spoken: str) -> dict[str, str]:
    headers = {name.lower(): value for name, value in response.headers.items() if name.lower() not in _FRAMING}
    streamed = response.ok and response.streamed
    headers["content-type"] = "text/event-stream; charset=utf-8" if streamed else "application/json"
    known = headers.get(_REQUEST_ID[spoken])
    if known is not None:
        headers[_REQUEST_ID[dialect]] = known
    return headers


class _Streamed:
    """A stream's bytes on their way through the translation."""

    __slots__ = ("_ended", "_response", "_retelling")

    def __init__(self, response: Response, retelling: Retelling) -> None:
        self._response = response
        self._retelling = retelling
        self._ended = False

    def whole(self, content: bytes) -> bytes:
        """Return all of a stream that has been read."""
        return self._retelling.feed(content) + self._retelling.flush()

    def __aiter__(self) -> _Streamed:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            try:
                chunk = await self._response.__anext__()
            except StopAsyncIteration:
                self._ended = True
                chunk = self._retelling.flush()
            else:
                chunk = self._retelling.feed(chunk)
            if chunk:
                return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the answer underneath."""
        await self._response.aclose()


class _Whole:
    """A body that is one JSON object, read to its end before it can be told."""

    __slots__ = ("_dialect", "_ended", "_response", "_spoken")

    def __init__(self, response: Response, dialect: str, spoken: str) -> None:
        self._response = response
        self._dialect = dialect
        self._spoken = spoken
        self._ended = False

    def whole(self, content: bytes) -> bytes:
        """Return the body in the caller's dialect; raises ``Untranslatable``."""
        if not self._response.ok:
            return error_to(self._dialect, content, self._response.status, source=self._spoken)
        message = parse(content)
        if message is None:
            raise Untranslatable(f"the provider's answer is no JSON object: {content[:80]!r}")
        return json.dumps(answer_to(self._dialect, message, source=self._spoken)).encode()

    def __aiter__(self) -> _Whole:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        self._ended = True
        content = await self._response.read()
        try:
            return self.whole(content)
        except Untranslatable as error:
            why = error.why
        raise MiddlewareError(f"the answer cannot be told in the {self._dialect} dialect: {why}", "translated")

    async def aclose(self) -> None:
        """Close the answer underneath."""
        await self._response.aclose()


class _Retold:
    """The meter of a translated stream, which knows the usage that the caller's stream may not show."""

    __slots__ = ("_meter", "_retelling")

    def __init__(self, meter: Meter, retelling: Retelling) -> None:
        self._meter = meter
        self._retelling = retelling

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes; return whether the answer has ended."""
        return self._meter.feed(chunk)

    @property
    def finished(self) -> bool:
        """Whether a whole answer arrived."""
        return self._meter.finished

    def usage(self) -> Usage | None:
        """Return what the provider reported so far."""
        return self._retelling.usage()

    def message(self) -> dict[str, Any] | None:
        """Return the answer in the caller's dialect, with its usage."""
        return self._with_usage(self._meter.message())

    def facts(self) -> dict[str, Any] | None:
        """Return what the answer says of its own terms."""
        return self._with_usage(self._meter.facts())

    def _with_usage(self, said: Mapping[str, Any] | None) -> dict[str, Any] | None:
        usage = self._retelling.usage()
        if said is None or usage is None:
            return None if said is None else dict(said)
        return {**said, "usage": dict(usage.raw)}
