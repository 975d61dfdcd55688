"""How answers end: settled exactly once, with nothing held back, however the caller or the network leaves."""

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


def test_settled_once_with_the_usage_that_was_billed(way: Any, caller: Any, fake: FakeProvider) -> None:
    watch = Watch()
    caller.saver = Saver(stack=[watch])
    caller.ask(way, fake)
    gc.collect()
    (outcome,) = watch.outcomes
    bill = fake.billed[-1]
    assert (outcome.complete, outcome.error, outcome.status) == (True, None, 200)
    assert outcome.usage is not None
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (bill.input_tokens, bill.output_tokens)
    assert TEXT in str(outcome.message)


def test_tokens_are_not_held_back_and_money_comes_before_the_end(
    stream_way: Any, caller: Any, pieces_of: Any, events_of: Any
) -> None:
    way, log = stream_way, list[str]()
    events = events_of(way)
    watch = Watch(log)
    caller.saver = Saver(stack=[watch])
    got = []

    async def run_async() -> None:
        async with caller.client(way, pieces_of(way, events, log), annotate=True) as client:
            stream = await caller.resource(way, client).create(**way.arguments(), stream=True)
            async for value in stream:
                got.append(value)
                log.append("got")

    def run_sync() -> None:
        with caller.client(way, pieces_of(way, events, log), annotate=True) as client:
            for value in caller.resource(way, client).create(**way.arguments(), stream=True):
                got.append(value)
                log.append("got")

    if way.asynchronous:
        asyncio.run(run_async())
    else:
        run_sync()
    texts = first_events(way)
    for number in range(texts):
        if b"event: ping" in events[number]:
            continue  # the SDK drops it
        sent = log.index(f"sent {number}")
        assert "got" in log[sent : log.index(f"sent {number + 1}")], "a token waited for the next one"
    last_got = len(log) - 1 - log[::-1].index("got")
    assert log.index("settled") < last_got, "the caller saw the end before it was settled"
    assert log.count("settled") == 1
    assert log.count("closed") >= 1


@pytest.mark.parametrize("how", ["close", "with", "garbage", "unread garbage"])
def test_streams_that_are_given_up(stream_way: Any, caller: Any, fake: FakeProvider, how: str) -> None:
    way, watch = stream_way, Watch()
    caller.saver = Saver(stack=[watch])

    async def run_async() -> None:
        client = caller.client(way, fake)
        stream = await caller.resource(way, client).create(**way.arguments(), stream=True)
        if how == "with":
            async with stream:
                await anext(stream)
        elif how != "unread garbage":
            for _ in range(first_events(way)):
                await anext(stream)
        if how == "close":
            await stream.close()
        del stream
        gc.collect()
        await asyncio.sleep(0)
        await client.close()

    def run_sync() -> None:
        client = caller.client(way, fake)
        stream = caller.resource(way, client).create(**way.arguments(), stream=True)
        if how == "with":
            with stream:
                next(stream)
        elif how != "unread garbage":
            for _ in range(first_events(way)):
                next(stream)
        if how == "close":
            stream.close()
        del stream
        gc.collect()
        client.close()

    if way.asynchronous:
        asyncio.run(run_async())
    else:
        run_sync()
    gc.collect()
    (outcome,) = watch.outcomes
    assert not outcome.complete
    assert outcome.error
    entry = caller.saver.last if not way.asynchronous else None
    assert entry is None or (entry.complete is False and entry.error == outcome.error)
    if how == "close":
        assert "one" in str(outcome.message)


def test_a_disconnect_reaches_the_caller_as_without_us(
    stream_way: Any, caller: Any, pieces_of: Any, events_of: Any
) -> None:
    way, watch = stream_way, Watch()
    events = events_of(way)[: first_events(way)]
    failure = httpx2.RemoteProtocolError("peer closed connection")

    def collect(make: Any) -> tuple[list[Any], BaseException]:
        got: list[Any] = []

        async def run_async() -> None:
            async with make() as client:
                async for value in await caller.resource(way, client).create(**way.arguments(), stream=True):
                    got.append(value)  # noqa: PERF401 - what came before the failure counts

        def run_sync() -> None:
            with make() as client:
                for value in caller.resource(way, client).create(**way.arguments(), stream=True):
                    got.append(value)  # noqa: PERF401 - what came before the failure counts

        with pytest.raises(Exception, match=r"peer closed|Connection error") as raised:
            if way.asynchronous:
                asyncio.run(run_async())
            else:
                run_sync()
        return got, raised.value

    def transport() -> Any:
        return pieces_of(way, [*events, failure], [])

    caller.saver = Saver(stack=[watch])
    bare_client = httpx2.AsyncClient if way.asynchronous else httpx2.Client
    kinds = {
        True: (openai.AsyncOpenAI, anthropic.AsyncAnthropic),
        False: (openai.OpenAI, anthropic.Anthropic),
    }[way.asynchronous]
    kind: Any = kinds[way.dialect == "messages"]
    bare, bare_error = collect(
        lambda: kind(api_key="k", max_retries=0, http_client=bare_client(transport=transport()))
    )
    for annotate in (False, True):
        watch.outcomes.clear()
        ours, our_error = collect(lambda: caller.client(way, transport(), annotate=annotate))  # noqa: B023 - run at once
        assert type(our_error) is type(bare_error)
        assert type(our_error.__cause__) is type(bare_error.__cause__)
        assert len(ours) == len(bare)
        (outcome,) = watch.outcomes
        assert not outcome.complete
        assert "peer closed" in str(outcome.error)


def test_a_disconnect_after_the_finish_loses_no_chunk(
    stream_way: Any, caller: Any, pieces_of: Any, events_of: Any
) -> None:
    """A filter that holds the finish chunk must hand it on when the end never comes."""
    way = stream_way
    if way.dialect != "chat":
        pytest.skip("only chat's finish chunk waits")
    events = events_of(way)[:-1]
    failure = httpx2.RemoteProtocolError("peer closed connection")
    got: list[Any] = []

    async def run_async(client: Any) -> None:
        async for value in await client.chat.completions.create(**way.arguments(), stream=True):
            got.append(value)  # noqa: PERF401 - what came before the failure counts

    def run_sync(client: Any) -> None:
        for value in client.chat.completions.create(**way.arguments(), stream=True):
            got.append(value)  # noqa: PERF401 - what came before the failure counts

    caller.saver = Saver()
    client = caller.client(way, pieces_of(way, [*events, failure], []), annotate=True)
    with pytest.raises(openai.APIConnectionError):
        asyncio.run(run_async(client)) if way.asynchronous else run_sync(client)
    assert got[-1].choices[0].finish_reason == "stop"
    assert len(got) == len(events)


async def test_a_cancelled_task_settles(caller: Any, way_of: Any, pieces_of: Any, events_of: Any) -> None:
    for dialect in ("chat", "responses", "messages"):
        way, watch, log = way_of(dialect, True, True), Watch(), list[str]()
        events = events_of(way)[: first_events(way)]
        caller.saver = Saver(stack=[watch])

        async def read(way: Any = way, log: Any = log, events: Any = events) -> None:
            async with caller.client(way, pieces_of(way, [*events, 30.0], log)) as client:
                stream = await caller.resource(way, client).create(**way.arguments(), stream=True)
                async for _ in stream:
                    pass

        task = asyncio.create_task(read())
        while f"sent {len(events)}" not in log:  # the pause that never ends
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (outcome,) = watch.outcomes
        assert not outcome.complete
        assert "Cancelled" in str(outcome.error)
        assert "one" in str(outcome.message)


async def test_a_cancelled_call_is_recorded(caller: Any, way_of: Any) -> None:
    async def hangs(request: httpx2.Request) -> httpx2.Response:  # noqa: ARG001 - a transport's signature
        await asyncio.sleep(30)
        raise AssertionError

    way = way_of("chat", True, False)
    caller.saver = Saver()
    async with caller.client(way, httpx2.MockTransport(hangs)) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.chat.completions.create(**way.arguments()), 0.05)
    entry = next(iter(caller.saver._record._entries.values()))
    assert entry.complete is False
    assert "CancelledError" in entry.error


def test_callbacks_that_fail_cost_nobody_the_answer(way: Any, caller: Any, fake: FakeProvider) -> None:
    ran = []

    def raises(outcome: Outcome) -> None:
        ran.append("raises")
        raise ZeroDivisionError

    async def raises_later(outcome: Outcome) -> None:
        ran.append("raises later")
        raise ZeroDivisionError

    async def suspends(outcome: Outcome) -> None:
        loop = asyncio.new_event_loop()
        try:
            ran.append("suspends")
            await loop.create_future() if not way.asynchronous else await asyncio.sleep(0)
        finally:
            loop.close()

    async def layer(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        for callback in (raises, raises_later, suspends, suspends, lambda _: ran.append("last")):
            response.on_complete(callback)
        return response

    caller.saver = Saver(stack=[layer])
    assert caller.ask(way, fake, max_retries=2).text == TEXT
    assert sorted(ran) == ["last", "raises", "raises later", "suspends", "suspends"]
    assert fake.calls == 1


def test_an_awaitable_callback_ends_before_the_terminal_event(way: Any, caller: Any, fake: FakeProvider) -> None:
    done = []

    async def slow(request: Request) -> None:
        await request.runtime.sleep(0.01)
        done.append(await request.runtime.offload(lambda: "written"))

    async def layer(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.on_complete(lambda _: slow(request))
        return response

    caller.saver = Saver(stack=[layer])
    caller.ask(way, fake)
    assert done == ["written"]


@pytest.mark.parametrize("loop_runs", [False, True])
def test_a_layer_that_suspends_under_a_sync_client(
    way: Any, caller: Any, fake: FakeProvider, loop_runs: bool
) -> None:
    if way.asynchronous:
        pytest.skip("there it may")
    when = []

    async def suspends(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request) if when[-1] == "after" else None
        loop = asyncio.new_event_loop()
        try:
            await loop.create_future()
        finally:
            loop.close()
        assert response
        return response

    async def inside_a_loop(call: Any) -> Any:
        return call()

    def run(call: Any) -> Any:
        return asyncio.run(inside_a_loop(call)) if loop_runs else call()

    caller.saver = Saver(stack=[suspends])
    when.append("after")
    assert run(lambda: caller.ask(way, fake)).text == TEXT
    when.append("before")
    with pytest.raises(MiddlewareError, match="needs an event loop, under a synchronous client"):
        run(lambda: caller.ask(way, fake, max_retries=2))
    assert fake.calls == 1


class Filter:
    """A body of a layer's own: upper-cases what comes, or fails on the way."""

    def __init__(self, inner: Response, failure: BaseException | None = None, *, suspends: bool = False) -> None:
        self.inner, self.failure, self.suspends, self.count = inner, failure, suspends, 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.count += 1
        if self.count > 4 and self.suspends:  # noqa: PLR2004 - after some text
            await asyncio.get_running_loop().create_future()
        if self.count > 4 and self.failure is not None:  # noqa: PLR2004 - after some text
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
    class Unsafe(LLMSaverError):
        pass

    async def stops(request: Request, call_next: CallNext) -> Response:
        inner = await call_next(request)
        return Response(inner.status, dict(inner.headers), body=Filter(inner, Unsafe("that will do")))

    caller.saver = Saver(stack=[stops])
    with pytest.raises(Unsafe, match="that will do") as raised:
        caller.ask(stream_way, fake)
    family = anthropic.AnthropicError if stream_way.dialect == "messages" else openai.OpenAIError
    assert isinstance(raised.value, family)
    gc.collect()
    assert fake.billed[-1].state == "aborted"


def test_a_body_that_suspends_under_a_sync_client_is_told_clearly(
    stream_way: Any, caller: Any, fake: FakeProvider
) -> None:
    if stream_way.asynchronous:
        pytest.skip("there it may")

    async def stops(request: Request, call_next: CallNext) -> Response:
        inner = await call_next(request)
        return Response(inner.status, dict(inner.headers), body=Filter(inner, suspends=True))

    async def inside_a_loop() -> None:
        caller.ask(stream_way, fake)

    caller.saver = Saver(stack=[stops])
    with pytest.raises(MiddlewareError, match="needs an event loop") as raised:
        asyncio.run(inside_a_loop())
    assert isinstance(raised.value, openai.OpenAIError | anthropic.AnthropicError)


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

    monkeypatch.setattr(native, "_keeps_list", lambda module: False)
    response = httpx2.Response(200, headers=[("X-One", "1")])
    assert header_dict(httpx2, response.headers) == {b"x-one": b"1"}
    add_headers(httpx2, response, [(b"x-three", b"4")])
    assert dict(response.headers) == {"x-one": "1", "x-three": "4"}


def test_only_clients_of_the_two_modules_are_known() -> None:
    assert module_of(openai.DefaultHttpxClient) is httpx2
    assert module_of(httpx.AsyncClient) is httpx
    with pytest.raises(TypeError, match="expected an httpx or httpx2 client or response, got builtins.dict"):
        module_of(dict)
