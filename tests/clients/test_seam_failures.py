"""Layers that break, and layers that stop a call on purpose: a clear word, and never a lost answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest

from llmsaver import LLMSaverError, MiddlewareError, Request, Response, Saver

if TYPE_CHECKING:
    from llmsaver import CallNext
    from llmsaver.testing import FakeProvider


async def passes(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


def base_error(way: Any) -> type[Exception]:
    return anthropic.AnthropicError if way.dialect == "messages" else openai.OpenAIError


def test_an_answer_nobody_gets_is_closed(way: Any, caller: Any, pieces_of: Any, events_of: Any) -> None:
    """A connection whose answer a layer drops must go back to its pool, whatever happens to the layer's own."""
    log: list[str] = []

    async def replaces(request: Request, call_next: CallNext) -> Response:
        await call_next(request)
        return Response.of(way.answer("instead"))

    async def refuses(request: Request, call_next: CallNext) -> Response:
        await call_next(request)
        raise LLMSaverError("blocked")

    pieces = events_of(way) if way.stream else [b"{}"]
    caller.saver = Saver(stack=[replaces])
    told = caller.ask(way, pieces_of(way, pieces, log))
    assert told.text == "instead"
    assert log.count("closed") == log.count("request") == 1

    caller.saver = Saver(stack=[refuses])
    with pytest.raises(LLMSaverError, match="blocked"):
        caller.ask(way, pieces_of(way, pieces, log))
    assert log.count("closed") == log.count("request") == 2


def test_a_layer_that_raises_before_there_is_an_answer(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def breaks(_request: Request, _call_next: CallNext) -> Response:
        raise ZeroDivisionError("oops")

    caller.saver = Saver(stack=[breaks])
    with pytest.raises(MiddlewareError, match="layer 'breaks' failed: ZeroDivisionError: oops") as raised:
        caller.ask(way, fake, max_retries=3)
    assert isinstance(raised.value, base_error(way))
    assert raised.value.layer == "breaks"
    assert fake.calls == 0


def test_a_layer_that_raises_after_the_answer_costs_nobody_the_answer(
    way: Any, caller: Any, fake: FakeProvider
) -> None:
    async def breaks(request: Request, call_next: CallNext) -> Response:
        await call_next(request)
        raise ZeroDivisionError("oops")

    caller.saver = Saver(stack=[breaks])
    told = caller.ask(way, fake, max_retries=3)
    assert told.text == "one two three four five six"
    assert told.headers["x-llmsaver-layers"] == "breaks=failed"
    assert fake.calls == 1


def test_a_layer_that_stops_a_call_on_purpose(way: Any, caller: Any, fake: FakeProvider) -> None:
    class Blocked(LLMSaverError):  # noqa: N818 - as an application may call it
        pass

    async def blocks(_request: Request, _call_next: CallNext) -> Response:
        raise Blocked("not this one")

    caller.saver = Saver(stack=[passes, blocks])
    with pytest.raises(Blocked, match="not this one") as raised:
        caller.ask(way, fake, max_retries=3)
    assert isinstance(raised.value, base_error(way))
    assert fake.calls == 0
    assert caller.saver.last is None or way.asynchronous or caller.saver.last.error == "Blocked: not this one"


@pytest.mark.parametrize("nonsense", [None, "text", {"choices": []}, 5])
def test_a_layer_that_returns_nonsense(way: Any, caller: Any, fake: FakeProvider, nonsense: Any) -> None:
    async def before(_request: Request, _call_next: CallNext) -> Any:
        return nonsense

    async def after(request: Request, call_next: CallNext) -> Any:
        await call_next(request)
        return nonsense

    caller.saver = Saver(stack=[before])
    with pytest.raises(MiddlewareError, match=r"'before' failed: TypeError: returned .*, not a Response"):
        caller.ask(way, fake)
    caller.saver = Saver(stack=[after])
    assert caller.ask(way, fake).text == "one two three four five six"
    assert fake.calls == 1


@pytest.mark.parametrize("body", [b"not json", b"[1]", b"", b'"text"', b"\xff\xfe"])
def test_a_layer_that_answers_with_no_answer_of_the_dialect(stream_way: Any, caller: Any, body: bytes) -> None:
    async def answers(_request: Request, _call_next: CallNext) -> Response:
        return Response(200, {"content-type": "application/json"}, content=body)

    way = stream_way
    caller.saver = Saver(stack=[answers])
    with pytest.raises(MiddlewareError, match="stream") as raised:
        caller.ask(way, _unused(), max_retries=3)
    assert isinstance(raised.value, base_error(way))


def _unused() -> Any:
    import httpx2

    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(f"{request.url} was asked")

    return httpx2.MockTransport(refuse)


def test_whatever_a_users_client_raises_is_what_the_sdk_sees(way: Any, caller: Any) -> None:
    class Odd(Exception):  # noqa: N818 - a stranger's
        pass

    def fails(request: httpx2.Request) -> httpx2.Response:
        raise Odd(f"asked for {request.url.path}")

    def failure(**options: Any) -> tuple[type, str, type]:
        client = caller.client(way, httpx2.MockTransport(fails), **options)

        async def acall() -> None:
            await caller.resource(way, client).create(**way.arguments(), stream=way.stream)

        try:
            if way.asynchronous:
                asyncio.run(acall())
            else:
                caller.resource(way, client).create(**way.arguments(), stream=way.stream)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            return type(error), str(error), type(error.__cause__)
        raise AssertionError("nothing failed")

    caller.saver = Saver(stack=[passes])
    assert failure() == failure(bare=True)


@pytest.mark.parametrize("loop_runs", [False, True])
def test_a_layer_that_suspends_under_a_sync_client(
    sync_way: Any, caller: Any, fake: FakeProvider, loop_runs: bool
) -> None:
    way, when = sync_way, list[str]()

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
    assert run(lambda: caller.ask(way, fake)).text == "one two three four five six"
    when.append("before")
    with pytest.raises(MiddlewareError, match="needs an event loop, under a synchronous client"):
        run(lambda: caller.ask(way, fake, max_retries=2))
    assert fake.calls == 1
