"""Answers of the other vendor, told to the caller: bytes, outcome, money, errors and the way they are closed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

import llmsaver
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.errors import MiddlewareError, UpstreamError
from llmsaver.middleware.translated import translated
from llmsaver.testing import Answer, FakeProvider, Fault, ToolCall
from llmsaver.wire import DIALECTS
from llmsaver.wire.translate import Untranslatable, request_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

OTHER = {"chat": "messages", "messages": "chat"}
URLS = {"chat": "https://api.openai.com/v1/chat/completions", "messages": "https://api.anthropic.com/v1/messages"}
HEADERS = {"authorization": "Bearer k", "x-api-key": "k", "anthropic-version": "2023-06-01"}
DIALECT_WAYS = [
    f"{dialect}-{kind}-{how}" for dialect in OTHER for kind in ("sync", "async") for how in ("whole", "stream")
]


class Arriving:
    """A body in pieces, which counts its closings and may break."""

    def __init__(self, pieces: list[bytes], breaks: Exception | None = None) -> None:
        self.pieces = pieces
        self.breaks = breaks
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.breaks is not None:
            raise self.breaks
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


def asked(dialect: str, **more: Any) -> Request:
    """Return a request of the caller's."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, **more}
    return Request(dialect, body, URLS[dialect], Entry(dialect, "m"), SyncRuntime())


def provided(request: Request, said: Any, *, read: bool, cut: int = 7) -> tuple[Response, Arriving]:
    """Return what the other vendor answers to a caller's request, read already or on its way in small pieces."""
    dialect = OTHER[request.dialect]
    body = request_to(dialect, request.body, source=request.dialect)
    reply = FakeProvider(said).receive("POST", URLS[dialect], HEADERS, json.dumps(body).encode())
    content = b"".join(reply.chunks())
    ok = reply.status == 200
    meter = DIALECTS[dialect].meter(streamed=reply.streamed) if ok else None
    arriving = Arriving([content[start : start + cut] for start in range(0, len(content), cut)])
    if read:
        return Response(reply.status, reply.headers, content=content, meter=meter), arriving
    return Response(reply.status, reply.headers, body=arriving, meter=meter), arriving


def read(response: Response) -> bytes:
    """Read an answer as a synchronous client does."""
    return drive(response.read())


@pytest.mark.parametrize("name", DIALECT_WAYS)
@pytest.mark.parametrize("early", [True, False])
def test_a_caller_of_either_sdk_gets_its_own_kind_of_answer(shop: Any, ways: Any, name: str, early: bool) -> None:
    way = ways[name]
    seen: list[Response] = []

    async def other_vendor(request: Request, _: Callable[[Request], Awaitable[Response]]) -> Response:
        response, _body = provided(request, Answer("Guten Tag."), read=early)
        seen.append(response)
        return translated(response, request, OTHER[request.dialect])

    entry = shop.ask(way, shop.saver(stack=[..., other_vendor]))
    assert entry.complete
    assert entry.usage.output_tokens > 0
    assert seen[0].outcome is not None
    assert entry.usage.input_tokens == seen[0].outcome.usage.input_tokens  # type: ignore[union-attr]  # it was read
    row = shop.row()
    assert (row["output_tokens"], row["complete"]) == (entry.usage.output_tokens, True)


class City(BaseModel):
    name: str
    people: int | None


@pytest.mark.parametrize("name", ["chat-sync-whole", "messages-sync-whole"])
def test_what_an_sdk_parses_itself_is_asked_for_and_found(shop: Any, ways: Any, name: str) -> None:
    way = ways[name]

    async def other_vendor(request: Request, _: Callable[[Request], Awaitable[Response]]) -> Response:
        response, _body = provided(request, Answer(), read=True)  # the fake keeps to the schema that reaches it
        return translated(response, request, OTHER[request.dialect])

    with shop.client(way, shop.saver(stack=[..., other_vendor])) as client:
        messages: Any = [{"role": "user", "content": "Which city?"}]
        if way.dialect == "chat":
            answer = client.chat.completions.parse(model="m", messages=messages, response_format=City)
            found = answer.choices[0].message.parsed
        else:
            found = client.messages.parse(model="m", max_tokens=99, messages=messages, output_format=City).parsed_output
    assert isinstance(found, City)


@pytest.mark.parametrize("dialect", OTHER)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_the_outcome_is_the_callers(dialect: str, stream: bool, early: bool) -> None:
    request = asked(dialect, stream=stream)
    call = ToolCall("look", {"city": "Köln"})
    inner, arriving = provided(request, Answer("Hm.", tool_calls=(call,)), read=early)
    outer = translated(inner, request, OTHER[dialect])
    done: list[Any] = []
    outer.on_complete(done.append)
    content = read(outer)
    (outcome,) = done
    assert outcome.complete
    assert (outer.status, outer.streamed) == (200, stream)
    message = outcome.message
    if dialect == "chat":
        assert message["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "look"
        assert message["usage"]["prompt_tokens"] == outcome.usage.input_tokens
    else:
        assert message["content"][1]["input"] == {"city": "Köln"}
        assert message["usage"]["input_tokens"] == outcome.usage.input_tokens
    assert outcome.facts["model"] == "m"
    assert outcome.facts["usage"] == message["usage"]
    assert inner.outcome is not None
    assert replace(outcome.usage, raw={}) == replace(inner.outcome.usage, raw={})  # type: ignore[type-var]  # it was read
    assert b"llmsaver" not in content
    assert arriving.closed == (0 if early else 1)


def test_headers_are_the_callers_vendors() -> None:
    request = asked("chat", stream=True)
    inner, _ = provided(request, Answer("hi"), read=True)
    outer = translated(inner, request, "messages")
    assert outer.headers["x-request-id"] == inner.headers["request-id"]
    assert outer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert not {"content-length", "transfer-encoding", "content-encoding"}.intersection(outer.headers)
    bare = translated(Response(200, {"Content-Length": "3"}, content=b"{}"), asked("chat"), "messages")
    assert dict(bare.headers) == {"content-type": "application/json"}


def test_the_same_dialect_is_the_same_answer() -> None:
    response = Response.of({"id": "x"})
    assert translated(response, asked("chat"), "chat") is response


def test_there_is_no_translation_of_others() -> None:
    stream = Response(200, {"content-type": "text/event-stream"}, content=b"")
    with pytest.raises(Untranslatable, match="responses"):
        translated(stream, asked("chat"), "responses")


@pytest.mark.parametrize("dialect", OTHER)
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("status", [429, 529])
def test_an_error_keeps_its_status(dialect: str, early: bool, status: int) -> None:
    request = asked(dialect, stream=True)
    inner, _ = provided(request, Fault(status, retry_after=3), read=early)
    outer = translated(inner, request, OTHER[dialect])
    assert (outer.status, outer.retry_after, outer.streamed) == (status, 3.0, False)
    body = json.loads(read(outer))
    assert body["error"]["message"]
    assert ("param" in body["error"]) is (dialect == "chat")
    assert outer.outcome is not None
    assert not outer.outcome.complete


@pytest.mark.parametrize("content", [b"<html>", b'{"content": [{"type": "new"}]}', b""])
def test_an_answer_that_cannot_be_told_is_an_error(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    outer = translated(Response(200, {}, content=content), asked("chat"), "messages")
    assert outer.status == 502
    assert "could not be told" in caplog.text
    assert json.loads(read(outer))["error"]["type"] == "server_error"
    late = translated(Response(200, {}, body=Arriving([content])), asked("chat"), "messages")
    assert late.status == 200
    with pytest.raises(MiddlewareError, match="cannot be told in the chat dialect"):
        read(late)


@pytest.mark.parametrize("stream", [True, False])
def test_closing_it_closes_what_is_underneath(stream: bool) -> None:
    request = asked("chat", stream=stream)
    inner, arriving = provided(request, Answer("one two three"), read=False)
    outer = translated(inner, request, "messages")

    async def some() -> None:
        if stream:
            async for chunk in outer:
                assert chunk
                break
        await outer.aclose()

    drive(some())
    assert arriving.closed == 1
    for response in (inner, outer):
        assert response.outcome is not None
        assert response.outcome.error == "closed before the end"


def test_a_stream_that_breaks_breaks_here_too() -> None:
    request = asked("chat", stream=True)
    inner, arriving = provided(request, Answer("one two three"), read=False)
    arriving.pieces = arriving.pieces[:30]
    arriving.breaks = UpstreamError(ConnectionResetError("gone"))
    outer = translated(inner, request, "messages")
    with pytest.raises(UpstreamError, match="gone"):
        read(outer)
    assert outer.outcome is not None
    assert not outer.outcome.complete


def test_a_stream_that_ends_early_is_no_whole_answer() -> None:
    request = asked("messages", stream=True)
    inner, arriving = provided(request, Answer("one two three"), read=False)
    arriving.pieces = arriving.pieces[:60]
    outer = translated(inner, request, "chat")
    read(outer)
    assert outer.outcome is not None
    assert outer.outcome.error == "ended without a whole answer"
    empty = translated(
        Response(200, {"content-type": "text/event-stream"}, content=b""), asked("chat", stream=True), "messages"
    )
    assert empty.outcome is not None
    assert (empty.outcome.message, empty.outcome.usage) == (None, None)


def test_what_a_read_answer_still_owes_is_waited_for() -> None:
    waited: list[str] = []

    async def row(_: Any) -> None:
        waited.append("written")

    request = asked("chat")
    inner, _ = provided(request, Answer("hi"), read=True)
    inner.on_complete(row)
    outer = translated(inner, request, "messages")
    assert (inner.owes, outer.owes, waited) == (True, True, [])
    drive(outer.settled())
    assert (inner.owes, outer.owes, waited) == (False, False, ["written"])


def test_an_sdk_above_raises_its_own_errors(shop: Any, ways: Any) -> None:
    async def other_vendor(request: Request, _: Callable[[Request], Awaitable[Response]]) -> Response:
        response, _body = provided(request, Fault(404), read=False)
        return translated(response, request, "messages")

    saver = shop.saver(stack=[..., other_vendor])
    way = ways["chat-sync-whole"]
    with pytest.raises(openai.NotFoundError) as raised, shop.client(way, saver) as client:
        shop.consume(way, client, way.arguments())
    assert raised.value.code == "model_not_found"

    async def nonsense(request: Request, _: Callable[[Request], Awaitable[Response]]) -> Response:
        return translated(Response(200, {}, body=Arriving([b"{}", b"{}"])), request, "messages")

    broken = shop.saver(stack=[..., nonsense])
    with pytest.raises(llmsaver.LLMSaverError, match="cannot be told"), shop.client(way, broken) as client:
        shop.consume(way, client, way.arguments())
