"""How answers end: settled exactly once, with nothing held back, however the caller or the network leaves."""

from __future__ import annotations

import asyncio
import gc
import inspect
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from llmsaver import Outcome, Request, Response, Saver
from llmsaver.core.runtime import drive

if TYPE_CHECKING:
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
    caller.drain(way, caller.client(way, pieces_of(way, events, log), annotate=True), lambda _: log.append("got"))
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


async def leave(way: Any, stream: Any, how: str) -> None:
    """Stop reading in one of the ways people do."""

    async def step() -> None:
        value = anext(stream) if way.asynchronous else next(stream)
        if inspect.isawaitable(value):
            await value

    if how == "with" and way.asynchronous:
        async with stream:
            await step()
    elif how == "with":
        with stream:
            await step()
    elif how != "unread garbage":
        for _ in range(first_events(way)):
            await step()
    closing = stream.close() if how == "close" else None
    if inspect.isawaitable(closing):
        await closing


@pytest.mark.parametrize("how", ["close", "with", "garbage", "unread garbage"])
def test_streams_that_are_given_up(stream_way: Any, caller: Any, fake: FakeProvider, how: str) -> None:
    way, watch = stream_way, Watch()
    caller.saver = Saver(stack=[watch])

    async def give_up() -> None:
        client = caller.client(way, fake)
        stream = caller.resource(way, client).create(**way.arguments(), stream=True)
        await leave(way, await stream if way.asynchronous else stream, how)
        del stream
        gc.collect()
        closing = client.close()
        if inspect.isawaitable(closing):
            await closing

    if way.asynchronous:
        asyncio.run(give_up())
    else:
        drive(give_up())
    gc.collect()
    (outcome,) = watch.outcomes
    assert not outcome.complete
    assert outcome.error
    entry = caller.saver.last if not way.asynchronous else None
    assert entry is None or (entry.complete is False and entry.error == outcome.error)
    if how == "close":
        assert "one" in str(outcome.message)


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
        while f"sent {len(events)}" not in log:  # noqa: ASYNC110 - a list; the pause that never ends comes next
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (outcome,) = watch.outcomes
        assert not outcome.complete
        assert "Cancelled" in str(outcome.error)
        assert "one" in str(outcome.message)


async def test_a_cancelled_call_is_recorded(caller: Any, way_of: Any) -> None:
    begun = asyncio.Event()

    async def hangs(request: httpx2.Request) -> httpx2.Response:  # noqa: ARG001 - a transport's signature
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    way = way_of("chat", True, False)
    caller.saver = Saver()
    async with caller.client(way, httpx2.MockTransport(hangs)) as client:
        call = asyncio.create_task(client.chat.completions.create(**way.arguments()))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    entry = next(iter(caller.saver._record._entries.values()))
    assert entry.complete is False
    assert "CancelledError" in entry.error


def test_callbacks_that_fail_cost_nobody_the_answer(way: Any, caller: Any, fake: FakeProvider) -> None:
    ran = []

    def raises(_outcome: Outcome) -> None:
        ran.append("raises")
        raise ZeroDivisionError

    async def raises_later(_outcome: Outcome) -> None:
        ran.append("raises later")
        raise ZeroDivisionError

    async def suspends(_outcome: Outcome) -> None:
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
