"""A stream whose beginning is held until it was judged; what was released is never taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.core.response import Response
from llmsaver.router.answers import answer_of
from llmsaver.router.logprobs import hide_logprobs
from llmsaver.wire import DIALECTS
from llmsaver.wire.payload import as_list, parse
from llmsaver.wire.sse import Framer, encode
from llmsaver.wire.streams import StreamShaper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.wire.sse import Event

__all__ = ["Held", "without_logprobs"]

# About how many characters a token has, where a provider tells no tokens.
_CHARS = 4


class _Hiding(StreamShaper):
    """Takes log-probabilities out of events; those without any leave as they came."""

    __slots__ = ("_body", "_dialect")

    def __init__(self, dialect: str, body: Mapping[str, Any]) -> None:
        super().__init__()
        self._dialect = dialect
        self._body = body

    def _shape(self, event: Event) -> bytes:
        if b'"logprobs"' not in event.data:
            return event.raw
        told = parse(event.data)
        hidden = None if told is None else hide_logprobs(self._dialect, told, self._body)
        return event.raw if hidden is None or hidden is told else encode(hidden, event.name.decode("utf-8", "replace"))


def without_logprobs(dialect: str, content: bytes, body: Mapping[str, Any]) -> bytes:
    """Return a whole stream less the log-probabilities that ``body`` does not ask for."""
    shaper = _Hiding(dialect, body)
    return shaper.feed(content) + shaper.flush()


class Held:
    """A stream that is read ahead: ``message`` is what has arrived, ``whole`` whether that is all of it."""

    def __init__(self, response: Response, dialect: str, body: Mapping[str, Any]) -> None:
        self.whole = False
        self._response = response
        self._dialect = dialect
        self._body = body
        self._chunks: list[bytes] = []
        self._meter = DIALECTS[dialect].meter(True)
        self._deltas = _Deltas() if dialect == "responses" else None

    @property
    def message(self) -> dict[str, Any]:
        """What has arrived, as one JSON object."""
        if self._deltas is not None and not self.whole:
            return self._deltas.message
        return self._meter.message() or {}

    async def read(self, tokens: int | None) -> None:
        """Read until about so many tokens of the answer are here (None: all), or its end."""
        while not self.whole and (tokens is None or self._tokens() < tokens):
            try:
                chunk = await self._response.__anext__()
            except StopAsyncIteration:
                self.whole = True
                return
            self._chunks.append(chunk)
            self.whole = self._meter.feed(chunk)
            if self._deltas is not None:
                self._deltas.feed(chunk)

    def released(self) -> Response:
        """Return the answer: what was held first, then the rest as it arrives."""
        response, meter = self._response, DIALECTS[self._dialect].meter(True)
        held = b"".join(self._chunks)
        if self.whole and response.outcome is not None:
            content = without_logprobs(self._dialect, held, self._body)
            return Response(response.status, response.headers, content=content, meter=meter)
        body = _Released(held, response, _Hiding(self._dialect, self._body))
        return Response(response.status, response.headers, body=body, meter=meter, carrier=response.carrier)

    async def aclose(self) -> None:
        """Give the stream up: nobody has seen any of it."""
        await self._response.aclose()

    def _tokens(self) -> int:
        answer = answer_of(self._dialect, self.message)
        return max(len(answer.logprobs or ()), len(answer.text) // _CHARS)


class _Deltas:
    """The text of a response on its way: its events are put together by the provider only as parts of it end."""

    __slots__ = ("_framer", "_logprobs", "_texts")

    def __init__(self) -> None:
        self._framer = Framer()
        self._texts: list[str] = []
        self._logprobs: list[Any] = []

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        for event in self._framer.feed(chunk):
            told = (parse(event.data) or {}) if b".delta" in event.data else {}
            if told.get("type") == "response.output_text.delta" and isinstance(told.get("delta"), str):
                self._texts.append(told["delta"])
                self._logprobs += as_list(told.get("logprobs"))

    @property
    def message(self) -> dict[str, Any]:
        """The response as far as its text goes."""
        part = {"type": "output_text", "text": "".join(self._texts), "annotations": [], "logprobs": self._logprobs}
        return {"status": "in_progress", "output": [{"type": "message", "role": "assistant", "content": [part]}]}


class _Released:
    """The body of a released answer."""

    __slots__ = ("_held", "_response", "_shaper")

    def __init__(self, held: bytes, response: Response, shaper: _Hiding) -> None:
        self._held = held
        self._response = response
        self._shaper: _Hiding | None = shaper

    def __aiter__(self) -> _Released:
        return self

    async def __anext__(self) -> bytes:
        while self._shaper is not None:
            try:
                chunk, self._held = self._held or await self._response.__anext__(), b""
            except StopAsyncIteration:
                shaper, self._shaper = self._shaper, None
                if tail := shaper.flush():
                    return tail
                break
            if shaped := self._shaper.feed(chunk):
                return shaped
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the stream that it comes from."""
        await self._response.aclose()
