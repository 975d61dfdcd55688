"""A stream is held until its first event, then handed on byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llmsaver import Response
from llmsaver.core.runtime import drive
from llmsaver.errors import UpstreamError
from llmsaver.middleware.begun import begun
from llmsaver.wire import DIALECTS

if TYPE_CHECKING:
    from llmsaver.core.outcome import Outcome

CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
LAST = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'


class Pieces:
    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = list(pieces)
        self.given = 0
        self.closed = 0

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        self.given += 1
        return piece

    async def aclose(self) -> None:
        self.closed += 1


def stream(*pieces: bytes | Exception) -> tuple[Pieces, Response, list[Outcome]]:
    ended: list[Outcome] = []
    body = Pieces(*pieces)
    inner = Response(200, {"content-type": "text/event-stream"}, body=body, meter=DIALECTS["chat"].meter(streamed=True))
    inner.on_complete(ended.append)
    return body, inner, ended


async def rest(response: Response) -> list[bytes]:
    return [chunk async for chunk in response]


def test_nothing_is_read_beyond_the_first_event() -> None:
    body, inner, ended = stream(b": ping\n\n", CHUNK[:9], CHUNK[9:], LAST, DONE)
    response = drive(begun(inner, "chat"))
    assert body.given == 3
    outcomes: list[Outcome] = []
    response.on_complete(outcomes.append)
    assert drive(rest(response)) == [b": ping\n\n", CHUNK[:9], CHUNK[9:], LAST, DONE]
    assert len(outcomes) == len(ended) == 1
    assert outcomes[0].complete
    assert outcomes[0].message is not None
    assert outcomes[0].message["choices"][0]["message"]["content"] == "hi"
    assert outcomes[0].facts is not None
    assert outcomes[0].usage is None


def test_a_stream_in_one_piece_ends_when_it_is_handed_on() -> None:
    _, inner, ended = stream(CHUNK + LAST + DONE)
    response = drive(begun(inner, "chat"))
    assert len(ended) == 1
    before: Any = response.outcome
    assert before is None
    assert drive(response.read()) == CHUNK + LAST + DONE
    assert response.outcome is not None
    assert response.outcome.complete


@pytest.mark.parametrize("pieces", [(ERROR,), (CHUNK + ERROR,), (), (b": ping\n\n",)])
def test_one_that_fails_first_is_read_and_not_complete(pieces: Any) -> None:
    body, inner, ended = stream(*pieces)
    response = drive(begun(inner, "chat"))
    assert response.content == b"".join(pieces)
    assert response.outcome is not None
    assert not response.outcome.complete
    assert body.closed >= 1
    assert not ended[0].complete


def test_a_transport_that_fails_first_raises() -> None:
    _, inner, _ = stream(b": ping\n\n", UpstreamError(OSError("gone")))
    with pytest.raises(UpstreamError):
        drive(begun(inner, "chat"))


def test_one_that_fails_later_fails_later() -> None:
    _, inner, ended = stream(CHUNK, UpstreamError(OSError("gone")))
    response = drive(begun(inner, "chat"))
    with pytest.raises(UpstreamError):
        drive(response.read())
    assert response.outcome is not None
    assert not response.outcome.complete
    assert not ended[0].complete


def test_closing_it_closes_the_stream() -> None:
    body, inner, ended = stream(CHUNK, LAST, DONE)
    response = drive(begun(inner, "chat"))
    drive(response.aclose())
    assert body.closed == 1
    assert not ended[0].complete


def test_an_answer_without_a_meter_is_handed_on_too() -> None:
    inner = Response(200, {"content-type": "text/event-stream"}, body=Pieces(CHUNK, DONE))
    response = drive(begun(inner, "chat"))
    assert drive(response.read()) == CHUNK + DONE
    assert response.outcome is not None
    assert (response.outcome.usage, response.outcome.message, response.outcome.facts) == (None, None, None)
