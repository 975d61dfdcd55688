"""Identical calls at once, through the real SDKs: one goes upstream, everybody is answered, one pays."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

import llmsaver
from llmsaver.testing import Answer, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

PATIENCE = 60.0
MANY = 100
SAID = "one two three four five six"


class Gate:
    """Stands before a provider: headers and each chunk pass when they are let through."""

    def __init__(self, fake: Any) -> None:
        self.fake = fake
        self._passes = threading.Semaphore(0)
        self._open = threading.Event()
        self.closed = 0

    def let(self, passes: int) -> None:
        """Let headers, or chunks, through."""
        for _ in range(passes):
            self._passes.release()

    def open(self) -> None:
        """Let everything through from now on."""
        self._open.set()
        self.let(1_000)

    def wait(self) -> None:
        if not self._open.is_set() and not self._passes.acquire(timeout=PATIENCE):
            raise TimeoutError("nobody opened the gate")

    def sync(self) -> Any:
        """Return a transport for synchronous clients."""
        gate, inner = self, self.fake.transport()

        class Stream(httpx2.SyncByteStream):
            def __init__(self, stream: Any) -> None:
                self._stream = stream

            def __iter__(self) -> Iterator[bytes]:
                for chunk in self._stream:
                    gate.wait()
                    yield chunk

            def close(self) -> None:
                gate.closed += 1
                self._stream.close()

        class Transport(httpx2.BaseTransport):
            def handle_request(self, request: Any) -> Any:
                answer = inner.handle_request(request)
                gate.wait()
                answer.stream = Stream(answer.stream)
                return answer

        return Transport()

    def asynchronous(self) -> Any:
        """Return a transport for asynchronous clients."""
        gate, inner = self, self.fake.async_transport()

        async def wait() -> None:
            while not gate._open.is_set() and not gate._passes.acquire(blocking=False):  # noqa: ASYNC110 - a thread opens it
                await asyncio.sleep(0.002)

        class Stream(httpx2.AsyncByteStream):
            def __init__(self, stream: Any) -> None:
                self._stream = stream

            async def __aiter__(self) -> AsyncIterator[bytes]:
                async for chunk in self._stream:
                    await wait()
                    yield chunk

            async def aclose(self) -> None:
                gate.closed += 1
                await self._stream.aclose()

        class Transport(httpx2.AsyncBaseTransport):
            async def handle_async_request(self, request: Any) -> Any:
                answer = await inner.handle_async_request(request)
                await wait()
                answer.stream = Stream(answer.stream)
                return answer

        return Transport()


class Crowd:
    """Callers of one Saver over one gate."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        self.saver = shop.saver(mode="balanced")
        self.gate = Gate(shop.fake)
        (cache,) = [layer for layer in self.saver.layers if layer.name == "exact cache"]
        self.flights = cache._flights

    def client(self, way: Any, **options: Any) -> Any:
        wire = self.gate.asynchronous() if way.asynchronous else self.gate.sync()
        return self.shop.client(way, self.saver, transport=wire, **options)

    def ask(self, way: Any, client: Any = None, **more: Any) -> str:
        """Ask in this thread; return what was said."""
        answer = self.shop.resource(way, client or self.client(way)).create(**self.arguments(way, more))
        return said(way, list(answer) if way.stream else answer)

    async def aask(self, way: Any, client: Any = None, **more: Any) -> str:
        """Ask on the running loop."""
        answer = await self.shop.resource(way, client or self.client(way)).create(**self.arguments(way, more))
        return said(way, [event async for event in answer] if way.stream else answer)

    async def tasks(self, way: Any, client: Any, count: int) -> list[asyncio.Task[str]]:
        """Ask in so many tasks, of which the first is the one that goes upstream."""
        tasks = [asyncio.create_task(self.aask(way, client))]
        await areach(lambda: self.aboard() == 1)
        return tasks + [asyncio.create_task(self.aask(way, client)) for _ in range(count - 1)]

    def arguments(self, way: Any, more: Any) -> dict[str, Any]:
        return {**way.arguments(more.pop("prompt", "hi")), **more, **({"stream": True} if way.stream else {})}

    def aboard(self) -> int:
        """Return how many share a call under way, the first included."""
        return max((shared._readers for shared in list(self.flights._under_way.values())), default=0)

    def entries(self, action: str) -> list[Any]:
        """Return the calls to which the cache did this."""
        return [
            entry
            for entry in self.saver.recent(1_000)
            if any(act.name == "exact cache" and act.action == action for act in entry.layers)
        ]

    def settled(self, sharers: int) -> None:
        """Check that one paid, and the others would have paid as much."""
        (payer,) = [entry for entry in self.saver.recent(1_000) if entry.attempts]
        shared = self.entries("shared")
        assert len(shared) == sharers
        assert payer.cost_nano == self.shop.billed() > 0
        for entry in shared:
            assert (entry.cost_nano, entry.baseline_nano) == (0, payer.cost_nano)
            assert entry.complete
        rows = self.shop.rows()
        assert sum(row["cost_nano"] for row in rows) == self.shop.billed()
        assert sum(row["hit_kind"] == "exact" for row in rows) == sharers


def said(way: Any, answer: Any) -> str:
    """Return the text of an answer, or of its events."""
    if not way.stream:
        if way.dialect == "chat":
            return str(answer.choices[0].message.content)
        return str(answer.output_text if way.dialect == "responses" else answer.content[0].text)
    if way.dialect == "chat":
        assert all(chunk.choices for chunk in answer)  # usage that nobody asked for
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    if way.dialect == "responses":
        return str(answer[-1].response.output_text)
    return "".join(getattr(each.delta, "text", "") for each in answer if each.type == "content_block_delta")


def reach(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.002)


async def areach(holds: Callable[[], bool]) -> None:
    """Do the same on a loop."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never came about"
        await asyncio.sleep(0.002)


@pytest.fixture
def crowd(shop: Any) -> Iterator[Crowd]:
    made = Crowd(shop)
    yield made
    made.gate.open()


def counts(each: list[str], of: int) -> None:
    assert each == [SAID] * of


class TestCrowds:
    def test_threads(self, crowd: Crowd, plain_way: Any, way_of: Any) -> None:
        ways = [plain_way, way_of(plain_way.dialect, stream=True)]
        with ThreadPoolExecutor(20) as pool:
            calls = [pool.submit(crowd.ask, ways[number % 2]) for number in range(20)]
            reach(lambda: crowd.aboard() == 20)
            crowd.gate.open()
            counts([call.result(PATIENCE) for call in calls], 20)
        assert crowd.shop.fake.calls == 1
        crowd.settled(19)

    def test_a_hundred_threads(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat", stream=True)
        client = crowd.client(way)
        with ThreadPoolExecutor(MANY) as pool:
            calls = [pool.submit(crowd.ask, way, client) for _ in range(MANY)]
            reach(lambda: crowd.aboard() == MANY)
            crowd.gate.open()
            counts([call.result(PATIENCE) for call in calls], MANY)
        assert crowd.shop.fake.calls == 1
        crowd.settled(MANY - 1)

    async def test_a_hundred_tasks(self, crowd: Crowd, way_of: Any) -> None:
        ways = [way_of("chat", asynchronous=True, stream=stream) for stream in (True, False)]
        client = crowd.client(ways[0])
        calls = [asyncio.create_task(crowd.aask(ways[number % 2], client)) for number in range(MANY)]
        await areach(lambda: crowd.aboard() == MANY)
        crowd.gate.open()
        counts(await asyncio.gather(*calls), MANY)
        assert crowd.shop.fake.calls == 1
        crowd.settled(MANY - 1)

    @pytest.mark.parametrize("leader", ["thread", "task"])
    @pytest.mark.parametrize("stream", [True, False])
    def test_threads_and_loops_together(self, crowd: Crowd, way_of: Any, leader: str, stream: bool) -> None:
        sync, task = way_of("messages", stream=stream), way_of("messages", asynchronous=True, stream=stream)

        def loop() -> list[str]:
            async def together() -> list[str]:
                client = crowd.client(task)
                return await asyncio.gather(*(crowd.aask(task, client) for _ in range(5)))

            return asyncio.run(together())

        with ThreadPoolExecutor(8) as pool:
            first = pool.submit(lambda: [crowd.ask(sync)]) if leader == "thread" else pool.submit(loop)
            reach(lambda: crowd.aboard() >= 1)
            others = [pool.submit(loop), pool.submit(loop), *(pool.submit(lambda: [crowd.ask(sync)]) for _ in range(4))]
            everybody = 15 if leader == "thread" else 19
            reach(lambda: crowd.aboard() == everybody)
            crowd.gate.open()
            counts([text for call in (first, *others) for text in call.result(PATIENCE)], everybody)
        assert crowd.shop.fake.calls == 1
        crowd.settled(everybody - 1)

    def test_other_requests_do_not_wait(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat")
        with ThreadPoolExecutor(3) as pool:
            calls = [
                pool.submit(crowd.ask, way, prompt="hi"),
                pool.submit(crowd.ask, way, prompt="other"),
                pool.submit(crowd.ask, way, extra_body={"llmsaver": {"cache": "no-store"}}),
            ]
            reach(lambda: crowd.shop.fake.calls == 3)
            crowd.gate.open()
            counts([call.result(PATIENCE) for call in calls], 3)

    def test_who_comes_after_the_end_is_answered_from_the_store(self, crowd: Crowd, way: Any) -> None:
        crowd.gate.open()
        for _ in range(2):
            text = asyncio.run(crowd.aask(way)) if way.asynchronous else crowd.ask(way)
            assert text == SAID
        assert crowd.shop.fake.calls == 1
        assert len(crowd.entries("hit")) == 1
        assert not crowd.flights._under_way


class TestStreams:
    def test_bytes_are_shared_as_they_come(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat", stream=True)
        crowd.gate.let(4)
        first = crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, {}))
        begun = [next(first) for _ in range(2)]
        second = crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, {}))
        seen = [next(second) for _ in range(3)]
        assert [chunk.choices for chunk in seen[:2]] == [chunk.choices for chunk in begun]
        crowd.gate.open()
        assert said(way, [*begun, *first]) == said(way, [*seen, *second]) == SAID
        assert crowd.shop.fake.calls == 1
        crowd.settled(1)

    def test_usage_is_told_to_who_asks_for_it(self, crowd: Crowd, way_of: Any) -> None:
        way, told = way_of("chat", stream=True), {"stream_options": {"include_usage": True}}
        with ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(crowd.ask, way)]
            reach(lambda: crowd.aboard() == 1)
            answer = pool.submit(
                lambda: list(crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, dict(told))))
            )
            calls.append(pool.submit(crowd.ask, way))
            reach(lambda: crowd.aboard() == 3)
            crowd.gate.open()
            counts([call.result(PATIENCE) for call in calls], 2)
            assert answer.result(PATIENCE)[-1].usage.prompt_tokens_details.cached_tokens > 0
        assert crowd.shop.fake.calls == 1

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_the_first_may_leave(self, crowd: Crowd, way_of: Any, asynchronous: bool) -> None:
        way, sync = way_of("messages", asynchronous=asynchronous, stream=True), way_of("messages", stream=True)
        gone, stay = threading.Event(), threading.Event()

        async def leave() -> None:
            answer = await crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, {}))
            async with answer:
                await anext(aiter(answer))
                begun.set()
                await asyncio.to_thread(gone.wait, PATIENCE)
            left.set()
            await asyncio.to_thread(stay.wait, PATIENCE)

        def leave_thread() -> None:
            with crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, {})) as answer:
                next(iter(answer))
                begun.set()
                gone.wait(PATIENCE)
            left.set()

        begun, left = threading.Event(), threading.Event()
        crowd.gate.let(3)
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(asyncio.run, leave()) if asynchronous else pool.submit(leave_thread)
            assert begun.wait(PATIENCE)
            others = [pool.submit(crowd.ask, each) for each in (sync, way_of("messages"))]
            reach(lambda: crowd.aboard() == 3)
            gone.set()
            assert left.wait(PATIENCE)
            crowd.gate.open()
            counts([call.result(PATIENCE) for call in others], 2)
            stay.set()
            first.result(PATIENCE)
        assert crowd.shop.fake.calls == 1
        assert crowd.ask(sync) == SAID  # it was stored
        assert crowd.shop.fake.calls == 1
        rows = crowd.shop.rows()
        assert sum(row["cost_nano"] for row in rows) == crowd.shop.billed()

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_alone_the_first_closes_the_upstream(self, crowd: Crowd, way_of: Any, asynchronous: bool) -> None:
        way = way_of("messages", asynchronous=asynchronous, stream=True)
        crowd.gate.let(4)
        if asynchronous:
            asyncio.run(crowd.shop.aconsume(way, crowd.client(way), way.arguments(), limit=1))
        else:
            crowd.shop.consume(way, crowd.client(way), way.arguments(), limit=1)
        assert crowd.gate.closed == 1
        assert crowd.shop.fake.billed[0].state == "aborted"
        assert not crowd.flights._under_way

    def test_with_nobody_left_the_upstream_is_closed(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat", stream=True)
        crowd.gate.let(4)
        answers = [crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, {})) for _ in range(2)]
        for answer in answers:
            next(answer)
            answer.close()
        crowd.gate.let(1)
        reach(lambda: crowd.gate.closed > 0)
        reach(lambda: not crowd.flights._under_way)
        assert crowd.shop.fake.billed[0].state == "aborted"

    def test_an_answer_dropped_unread_is_collected_and_settled(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat", stream=True)
        crowd.gate.let(2)
        answer = crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, {}))
        next(answer)
        del answer
        gc.collect()
        reach(lambda: not crowd.flights._under_way)
        (row,) = crowd.shop.rows()
        assert row["cost_nano"] > 0
        assert row["estimated"]

    def test_a_stream_that_breaks_breaks_for_all_who_read_it(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat", stream=True)
        crowd.shop.fake.script([Fault(drop="disconnect", after=3, answer=Answer(SAID))])
        crowd.gate.let(2)
        answers = [crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, {})) for _ in range(2)]
        crowd.gate.open()
        for answer in answers:
            with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):  # as the SDK's version has it
                list(answer)
        assert crowd.shop.fake.calls == 1


class TestFailures:
    @pytest.mark.parametrize("stream", [True, False])
    def test_one_that_a_retry_cannot_mend_is_shared(self, crowd: Crowd, way_of: Any, stream: bool) -> None:
        way = way_of("chat", stream=stream)
        crowd.shop.fake.answer = Fault(400, message="no such thing")
        errors = self.failures(crowd, way, 10)
        assert all("no such thing" in str(error) for error in errors)
        assert crowd.shop.fake.calls == 1
        assert len(crowd.entries("shared")) == 9

    @pytest.mark.parametrize("fault", [Fault(500), Fault(429), Fault(drop="disconnect")])
    def test_one_that_a_retry_can_mend_is_tried_by_one(self, crowd: Crowd, way_of: Any, fault: Fault) -> None:
        way = way_of("chat")
        crowd.shop.fake.script([fault])
        results = self.results(crowd, way, 10)
        assert sum(isinstance(result, Exception) for result in results) == 1
        assert results.count(SAID) == 9
        assert crowd.shop.fake.calls == 2

    @pytest.mark.parametrize("fault", [Fault(500), Fault(drop="reset")])
    def test_a_provider_that_is_down_is_not_asked_by_all(self, crowd: Crowd, way_of: Any, fault: Fault) -> None:
        crowd.shop.fake.answer = fault
        errors = self.failures(crowd, way_of("chat"), 10)
        assert len(errors) == 10
        assert crowd.shop.fake.calls == 2
        assert len({id(error.__cause__ or error) for error in errors}) == 10

    def test_the_sdks_retries_share_too(self, crowd: Crowd, way_of: Any) -> None:
        crowd.shop.fake.script([Fault(500), Fault(500)])
        assert self.results(crowd, way_of("chat"), 10, max_retries=3) == [SAID] * 10
        assert crowd.shop.fake.calls == 3

    def test_a_refusal_is_shared_and_not_stored(self, crowd: Crowd, way_of: Any) -> None:
        crowd.shop.fake.answer = Answer("I", finish="length")
        assert self.results(crowd, way_of("chat"), 5) == ["I"] * 5
        assert crowd.shop.fake.calls == 1
        assert crowd.ask(way_of("chat")) == "I"
        assert crowd.shop.fake.calls == 2

    def test_a_budget_of_ones_own_stops_that_one_only(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat")

        def poor() -> Any:
            with llmsaver.budget("tiny", usd="0.0000001"):
                return crowd.ask(way)

        with ThreadPoolExecutor(2) as pool:
            with pytest.raises(llmsaver.BudgetExceeded):
                pool.submit(poor).result(PATIENCE)
            first = pool.submit(crowd.ask, way)
            reach(lambda: crowd.aboard() == 1)
            second = pool.submit(poor)  # shares what costs it nothing
            reach(lambda: crowd.aboard() == 2)
            crowd.gate.open()
            counts([first.result(PATIENCE), second.result(PATIENCE)], 2)

    def results(self, crowd: Crowd, way: Any, callers: int, **options: Any) -> list[Any]:
        client = crowd.client(way, **options)
        with ThreadPoolExecutor(callers) as pool:
            calls = [pool.submit(crowd.ask, way, client) for _ in range(callers)]
            reach(lambda: crowd.aboard() == callers)
            crowd.gate.open()
            return [call.exception(PATIENCE) or call.result() for call in calls]

    def failures(self, crowd: Crowd, way: Any, callers: int) -> list[Any]:
        results = self.results(crowd, way, callers)
        assert all(isinstance(result, Exception) for result in results)
        return results


class TestCancelling:
    @pytest.mark.parametrize("stream", [True, False])
    async def test_another_takes_the_place_of_the_first(self, crowd: Crowd, way_of: Any, stream: bool) -> None:
        way = way_of("chat", asynchronous=True, stream=stream)
        client = crowd.client(way)
        calls = await crowd.tasks(way, client, 10)
        await areach(lambda: crowd.aboard() == 10 and crowd.shop.fake.calls == 1)
        calls[0].cancel()
        await areach(lambda: crowd.shop.fake.calls == 2 and crowd.aboard() == 9)
        crowd.gate.open()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        counts(results[1:], 9)  # type: ignore[arg-type]  # texts
        assert crowd.shop.fake.calls == 2

    async def test_the_first_of_a_stream_is_not_needed_any_more(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat", asynchronous=True, stream=True)
        client = crowd.client(way)
        crowd.gate.let(3)
        calls = await crowd.tasks(way, client, 3)
        await areach(lambda: crowd.aboard() == 3)
        (shared,) = crowd.flights._under_way.values()
        await areach(lambda: len(shared._chunks) == 2)
        calls[0].cancel()
        await asyncio.wait([calls[0]])
        crowd.gate.open()
        counts(await asyncio.gather(*calls[1:]), 2)
        assert crowd.shop.fake.calls == 1
        assert sum(row["cost_nano"] for row in crowd.shop.rows()) == crowd.shop.billed()

    async def test_one_who_waits_may_go(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat", asynchronous=True, stream=True)
        client = crowd.client(way)
        calls = await crowd.tasks(way, client, 3)
        await areach(lambda: crowd.aboard() == 3)
        calls[1].cancel()
        await areach(lambda: crowd.aboard() == 2)
        crowd.gate.open()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [results[0], results[2]] == [SAID, SAID]
        assert crowd.shop.fake.calls == 1

    def test_a_loop_that_ends_hands_over(self, crowd: Crowd, way_of: Any) -> None:
        task, sync = way_of("chat", asynchronous=True), way_of("chat")
        waiting = threading.Event()

        async def first() -> None:
            call = asyncio.create_task(crowd.aask(task))
            await areach(lambda: crowd.aboard() == 2 and crowd.shop.fake.calls == 1)
            waiting.set()
            call.cancel()

        with ThreadPoolExecutor(2) as pool:
            loop = pool.submit(asyncio.run, first())
            reach(lambda: crowd.aboard() == 1)
            other = pool.submit(crowd.ask, sync)
            assert waiting.wait(PATIENCE)
            loop.result(PATIENCE)
            crowd.gate.open()
            assert other.result(PATIENCE) == SAID
        assert crowd.shop.fake.calls == 2

    def test_who_waits_has_a_timeout_of_its_own(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("chat")
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(crowd.ask, way)
            reach(lambda: crowd.aboard() == 1)
            hurried = pool.submit(crowd.ask, way, timeout=0.05)
            assert isinstance(hurried.exception(PATIENCE), openai.APITimeoutError)
            crowd.gate.open()
            assert first.result(PATIENCE) == SAID
        assert crowd.shop.fake.calls == 1


class TestElsewhere:
    """Two Savers on one store are to each other what two processes are."""

    @pytest.fixture
    def other(self, crowd: Crowd) -> Crowd:
        made = Crowd(crowd.shop)
        made.gate = crowd.gate
        return made

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_the_stored_answer_is_waited_for(self, crowd: Crowd, other: Crowd, way_of: Any, asynchronous: bool) -> None:
        way, there = way_of("chat", stream=True), way_of("chat", asynchronous=asynchronous)
        ask = (lambda: asyncio.run(other.aask(there))) if asynchronous else (lambda: other.ask(there))
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(crowd.ask, way)
            reach(lambda: crowd.shop.fake.calls == 1)
            others = [pool.submit(ask) for _ in range(2)]
            reach(lambda: other.aboard() == 2)
            crowd.gate.open()
            counts([call.result(PATIENCE) for call in (first, *others)], 3)
        assert crowd.shop.fake.calls == 1
        assert len(other.entries("hit")) == 2

    def test_an_answer_that_is_not_stored_is_waited_for_once(self, crowd: Crowd, other: Crowd, way_of: Any) -> None:
        crowd.shop.fake.answer = Answer("I", finish="length")
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(crowd.ask, way_of("chat"))
            reach(lambda: crowd.shop.fake.calls == 1)
            second = pool.submit(other.ask, way_of("chat"))
            reach(lambda: other.aboard() == 1)
            crowd.gate.open()
            assert [first.result(PATIENCE), second.result(PATIENCE)] == ["I", "I"]
        assert crowd.shop.fake.calls == 2

    def test_nobody_waits_in_line_for_ever(self, crowd: Crowd, way_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        looks = iter(["theirs", "free"] * 2)
        monkeypatch.setattr(crowd.flights._claims, "claim", lambda *_: "theirs")
        monkeypatch.setattr(crowd.flights._claims, "look", lambda _: next(looks))
        crowd.gate.open()
        assert crowd.ask(way_of("chat")) == SAID
        assert next(looks, None) is None

    def test_a_caller_in_a_hurry_does_not_wait(
        self, crowd: Crowd, way_of: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(crowd.flights._claims, "claim", lambda *_: "theirs")
        monkeypatch.setattr(crowd.flights._claims, "look", lambda _: "theirs")
        with pytest.raises(openai.APITimeoutError):
            crowd.ask(way_of("chat"), timeout=0.05)
        assert crowd.shop.fake.calls == 0

    def test_without_a_store_calls_go_on(self, crowd: Crowd, way_of: Any) -> None:
        def broken(*_: Any) -> Any:
            raise OSError("gone")

        for name in ("transact", "read"):
            object.__setattr__(crowd.saver.cache.store.place, name, broken)
        with ThreadPoolExecutor(5) as pool:
            calls = [pool.submit(crowd.ask, way_of("chat")) for _ in range(5)]
            reach(lambda: crowd.aboard() == 5)
            crowd.gate.open()
            counts([call.result(PATIENCE) for call in calls], 5)
        assert crowd.shop.fake.calls == 1


class TestItself:
    async def test_a_loop_that_is_blocked_waits_for_nobody(self, crowd: Crowd, way_of: Any) -> None:
        way, sync = way_of("chat", asynchronous=True, stream=True), way_of("chat")
        crowd.gate.let(2)
        answer = await crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, {}))
        await anext(aiter(answer))
        crowd.gate.open()
        assert crowd.ask(sync) == SAID  # in the loop's own thread
        await answer.close()
        assert crowd.shop.fake.calls == 2

    def test_one_thread_may_read_its_own_stream_twice(self, crowd: Crowd, way_of: Any) -> None:
        way = way_of("responses", stream=True)
        crowd.gate.open()
        first = crowd.shop.resource(way, crowd.client(way)).create(**crowd.arguments(way, {}))
        assert crowd.ask(way) == SAID
        assert said(way, list(first)) == SAID
        assert crowd.shop.fake.calls == 1

    def test_a_layer_that_makes_the_same_call_again_does_not_wait_for_itself(self, shop: Any, way_of: Any) -> None:
        way = way_of("chat")
        again: list[None] = []

        async def twice(request: Any, call_next: Any) -> Any:
            if not again:
                again.append(None)
                shop.consume(way, shop.client(way, saver), way.arguments())
            return await call_next(request)

        saver = shop.saver(mode="balanced", stack=[..., twice])
        shop.consume(way, shop.client(way, saver), way.arguments())
        assert shop.fake.calls == 2

    def test_embeddings_share_too(self, crowd: Crowd, way_of: Any) -> None:
        client = crowd.client(way_of("chat"))

        def embed() -> Any:
            return client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])

        (cache,) = [layer for layer in crowd.saver.layers if layer.name == "exact cache"]
        with ThreadPoolExecutor(5) as pool:
            calls = [pool.submit(embed) for _ in range(5)]
            reach(lambda: any(each._readers == 5 for each in list(cache._embedding._under_way.values())))
            crowd.gate.open()
            vectors = [[item.embedding for item in call.result(PATIENCE).data] for call in calls]
        assert vectors == [vectors[0]] * 5
        assert crowd.shop.fake.calls == 1
        assert sorted(call.result().usage.total_tokens > 0 for call in calls) == [False] * 4 + [True]
