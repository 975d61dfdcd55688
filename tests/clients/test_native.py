"""Bytes on their way up: restored exceptions, other bodies than the network's, compression, and both HTTP modules."""

from __future__ import annotations

import asyncio
import gc
import gzip
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from llmsaver import LLMSaverError, MiddlewareError, Outcome, Request, Response, Saver
from llmsaver.clients.native import add_headers, header_dict, module_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llmsaver import CallNext
    from llmsaver.testing import FakeProvider

TEXT = "one two three four five six"


class Watch:
    """A layer that notes how answers ended."""

    name = "watch"

    def __init__(self, log: list[str] | None = None) -> None:
        self.outcomes: list[Outcome] = []
        self.log = [] if log is None else log

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.on_complete(self.note)
        return response

    def note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.log.append("settled")


def first_events(way: Any) -> int:
    """Return how many values of a stream hold the first text."""
    return {"chat": 2, "responses": 5, "messages": 3}[way.dialect]


def test_a_disconnect_reaches_the_caller_as_without_us(
    stream_way: Any, caller: Any, pieces_of: Any, events_of: Any
) -> None:
    way, watch = stream_way, Watch()
    events = events_of(way)[: first_events(way)]
    failure = httpx2.RemoteProtocolError("peer closed connection")

    def collect(client: Any) -> tuple[int, BaseException]:
        got: list[Any] = []
        with pytest.raises(Exception, match=r"peer closed|Connection error") as raised:
            caller.drain(way, client, got.append)
        return len(got), raised.value

    def transport() -> Any:
        return pieces_of(way, [*events, failure], [])

    caller.saver = Saver(stack=[watch])
    count, expected = collect(caller.client(way, transport(), bare=True))
    for annotate in (False, True):
        watch.outcomes.clear()
        ours, error = collect(caller.client(way, transport(), annotate=annotate))
        assert type(error) is type(expected)
        assert type(error.__cause__) is type(expected.__cause__)
        assert ours == count
        (outcome,) = watch.outcomes
        assert not outcome.complete
        assert "peer closed" in str(outcome.error)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_disconnect_after_the_finish_loses_no_chunk(
    caller: Any, way_of: Any, pieces_of: Any, events_of: Any, asynchronous: bool
) -> None:
    """A filter that holds the finish chunk must hand it on when the end never comes."""
    way = way_of("chat", asynchronous, True)
    events = events_of(way)[:-1]
    failure = httpx2.RemoteProtocolError("peer closed connection")
    got: list[Any] = []
    caller.saver = Saver()
    with pytest.raises(openai.APIConnectionError):
        caller.drain(way, caller.client(way, pieces_of(way, [*events, failure], []), annotate=True), got.append)
    assert got[-1].choices[0].finish_reason == "stop"
    assert len(got) == len(events)


class Filter:
    """A body of a layer's own: upper-cases what comes, or fails on the way."""

    def __init__(self, inner: Response, failure: BaseException | None = None, *, suspends: bool = False) -> None:
        self.inner, self.failure, self.suspends, self.count = inner, failure, suspends, 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.count += 1
        if self.count > 4 and self.suspends:
            await asyncio.get_running_loop().create_future()
        if self.count > 4 and self.failure is not None:
            raise self.failure
        return (await self.inner.__anext__()).replace(b"one", b"ONE")

    async def aclose(self) -> None:
        await self.inner.aclose()


def test_a_layer_wraps_a_stream(stream_way: Any, caller: Any, fake: FakeProvider) -> None:
    watch = Watch()

    async def wraps(request: Request, call_next: CallNext) -> Response:
        inner = await call_next(request)
        return Response(inner.status, dict(inner.headers), body=Filter(inner))

    caller.saver = Saver(stack=[wraps, watch])
    told = caller.ask(stream_way, fake)
    assert told.text == TEXT.replace("one", "ONE")
    assert watch.outcomes[0].complete
    assert len(watch.outcomes) == 1


def test_a_layer_that_stops_a_stream_is_heard_in_the_sdks_family(
    stream_way: Any, caller: Any, fake: FakeProvider
) -> None:
    class Unsafe(LLMSaverError):  # noqa: N818 - as an application may call it
        pass

    async def stops(request: Request, call_next: CallNext) -> Response:
        inner = await call_next(request)
        return Response(inner.status, dict(inner.headers), body=Filter(inner, Unsafe("that will do")))

    caller.saver = Saver(stack=[stops])
    with pytest.raises(Unsafe, match="that will do") as raised:
        caller.ask(stream_way, fake)
    family: Any = anthropic.AnthropicError if stream_way.dialect == "messages" else openai.OpenAIError
    assert isinstance(raised.value, family)
    gc.collect()
    assert fake.billed[-1].state == "aborted"


def test_a_body_that_suspends_under_a_sync_client_is_told_clearly(
    sync_stream_way: Any, caller: Any, fake: FakeProvider
) -> None:
    async def stops(request: Request, call_next: CallNext) -> Response:
        inner = await call_next(request)
        return Response(inner.status, dict(inner.headers), body=Filter(inner, suspends=True))

    async def inside_a_loop() -> None:
        caller.ask(sync_stream_way, fake)

    caller.saver = Saver(stack=[stops])
    with pytest.raises(MiddlewareError, match="needs an event loop") as raised:
        asyncio.run(inside_a_loop())
    assert isinstance(raised.value, openai.OpenAIError | anthropic.AnthropicError)


def test_a_close_that_fails(stream_way: Any, caller: Any, pieces_of: Any, events_of: Any) -> None:
    """The transport's failure is the SDK's to see, as without us; a layer's own must not undo a read answer."""
    way = stream_way

    class Stuck(Filter):
        async def aclose(self) -> None:
            raise ZeroDivisionError

    async def wraps(request: Request, call_next: CallNext) -> Response:
        inner = await call_next(request)
        return Response(inner.status, dict(inner.headers), body=Stuck(inner))

    caller.saver = Saver(stack=[wraps])
    assert caller.ask(way, pieces_of(way, events_of(way), [])).text == TEXT.replace("one", "ONE")

    def outcome(**options: Any) -> Any:
        wire = pieces_of(way, events_of(way), [], close_error=httpx2.CloseError("reset"))
        got: list[Any] = []
        try:
            caller.drain(way, caller.client(way, wire, **options), got.append)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            return len(got), type(error), str(error)
        return len(got), None, ""

    caller.saver = Saver()
    assert outcome() == outcome(bare=True)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_broken_compression_fails_as_without_us(caller: Any, way_of: Any, events_of: Any, asynchronous: bool) -> None:
    way = way_of("chat", asynchronous, True)
    good = gzip.compress(b"".join(events_of(way)))
    body = {"good": good, "broken": b"nonsense", "cut": good[: len(good) // 2]}

    def answer(kind: str) -> Any:
        headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
        return httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, stream=Chunks(body[kind])))

    caller.saver = Saver()
    assert caller.ask(way, answer("good")).text == TEXT
    with pytest.raises(openai.APIConnectionError) as raised:
        caller.ask(way, answer("broken"))
    cause = raised.value.__cause__
    assert isinstance(cause, httpx2.DecodingError)
    assert cause.request.url.path == "/v1/chat/completions"
    assert TEXT.startswith(caller.ask(way, answer("cut")).text)


class Chunks(httpx2.ByteStream):
    """Bytes that an HTTP client takes as a stream still to be read."""


def test_headers_of_both_modules() -> None:
    for module in (httpx2, httpx):
        headers = module.Headers([("X-One", "1"), ("x-two", "2"), ("X-One", "3")])
        assert header_dict(module, headers) == {b"x-one": b"3", b"x-two": b"2"}
        response = module.Response(200, headers=headers)
        add_headers(module, response, [(b"x-three", b"4")])
        assert response.headers["X-Three"] == "4"
        assert response.headers.get_list("x-one") == ["1", "3"]


def test_headers_of_a_module_that_keeps_them_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmsaver.clients import native

    monkeypatch.setattr(native, "_keeps_list", lambda _: False)
    response = httpx2.Response(200, headers=[("X-One", "1")])
    assert header_dict(httpx2, response.headers) == {b"x-one": b"1"}
    add_headers(httpx2, response, [(b"x-three", b"4")])
    assert dict(response.headers) == {"x-one": "1", "x-three": "4"}


def test_only_clients_of_the_two_modules_are_known() -> None:
    assert module_of(openai.DefaultHttpxClient) is httpx2
    assert module_of(httpx.AsyncClient) is httpx
    with pytest.raises(TypeError, match=r"expected an httpx or httpx2 client or response, got builtins\.dict"):
        module_of(dict)
