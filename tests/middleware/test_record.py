"""The record: every call has an entry that ends as its answer does, once."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmsaver.core.entry import Attempt, Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import AsyncRuntime, SyncRuntime, drive
from llmsaver.core.stack import compose
from llmsaver.core.usage import Usage
from llmsaver.errors import UpstreamError
from llmsaver.middleware.record import RECENT, Record

Run = Callable[[Any], Any]
DIALECTS = ("chat", "responses", "messages", "embeddings")


class Counting:
    """A meter that is done at its second chunk and reports how many it has seen."""

    def __init__(self, *, reports: bool = True) -> None:
        self.seen = 0
        self.reports = reports

    def feed(self, _: bytes) -> bool:
        self.seen += 1
        return self.seen == 2

    @property
    def finished(self) -> bool:
        return self.seen == 2

    def usage(self) -> Usage | None:
        return Usage(5, self.seen) if self.reports else None

    def message(self) -> dict[str, Any] | None:
        return {}

    def facts(self) -> dict[str, Any] | None:
        return {}


async def two_chunks() -> AsyncGenerator[bytes, None]:
    yield b"a"
    yield b"b"


def streaming(**meter: bool) -> Response:
    return Response(200, {"content-type": "text/event-stream"}, body=two_chunks(), meter=Counting(**meter))


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    return drive if request.param == "sync" else asyncio.run


@pytest.fixture(params=DIALECTS)
def asked(request: pytest.FixtureRequest, run: Run) -> Request:
    runtime = SyncRuntime() if run is drive else AsyncRuntime()
    return Request(request.param, {"model": "m"}, "https://x.test/", Entry(request.param, "m"), runtime)


def answering(*answers: Response | BaseException) -> Callable[[Request], Any]:
    left = list(answers)

    async def upstream(request: Request) -> Response:
        request.entry.begin(Attempt("x.test", request.model))
        answer = left.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return upstream


def test_a_read_answer_settles_its_entry_at_once(run: Run, asked: Request) -> None:
    record, entry = Record(), asked.entry
    run(record(asked, answering(Response(200, content=b"{}"))))
    assert record.entry(entry.id) is entry
    assert (entry.status, entry.complete, entry.error) == (200, True, None)
    assert entry.latency_s is not None
    assert 0 <= entry.latency_s < 5


def test_a_stream_is_live_until_its_terminal_event(run: Run, asked: Request) -> None:
    entry, live = asked.entry, list[tuple[int | None, bool | None, float | None]]()

    async def consume() -> None:
        response = await Record()(asked, answering(streaming()))
        live.append((entry.status, entry.complete, entry.latency_s))
        assert await response.__anext__() == b"a"
        live.append((entry.status, entry.complete, entry.latency_s))
        assert await response.__anext__() == b"b"
        assert (entry.complete, entry.usage, entry.estimated) == (True, Usage(5, 2), False)

    run(consume())
    assert live == [(200, None, None)] * 2
    assert entry.latency_s is not None


@pytest.mark.parametrize("taken", [0, 1])
def test_a_stream_closed_early_is_settled_with_what_was_reported(run: Run, asked: Request, taken: int) -> None:
    async def leave() -> None:
        response = await Record()(asked, answering(streaming()))
        for _ in range(taken):
            await response.__anext__()
        await response.aclose()

    run(leave())
    entry = asked.entry
    assert (entry.complete, entry.error, entry.usage) == (False, "closed before the end", Usage(5, taken))


def test_a_stream_nobody_reads_is_settled_when_it_is_collected(run: Run, asked: Request) -> None:
    async def drop() -> None:
        await Record()(asked, answering(streaming()))

    run(drop())
    assert (asked.entry.complete, asked.entry.error) == (False, "never read to the end")


def test_an_answer_without_usage_is_flagged(run: Run, asked: Request) -> None:
    async def consume() -> None:
        await (await Record()(asked, answering(streaming(reports=False)))).read()

    run(consume())
    assert (asked.entry.complete, asked.entry.usage, asked.entry.estimated) == (True, None, True)


def test_an_error_status_is_an_answer_that_costs_nothing_to_estimate(run: Run, asked: Request) -> None:
    run(Record()(asked, answering(Response(429, content=b"{}"))))
    assert (asked.entry.status, asked.entry.complete, asked.entry.estimated) == (429, False, False)


@pytest.mark.parametrize("error", [UpstreamError(OSError("down")), asyncio.CancelledError("stop"), KeyError("bug")])
def test_a_call_without_an_answer_is_recorded_and_its_error_passes(asked: Request, error: BaseException) -> None:
    record, entry = Record(), asked.entry
    with pytest.raises(type(error)) as caught:
        drive(record(asked, answering(error)))
    assert caught.value is error
    assert (entry.complete, entry.error, entry.status) == (False, f"{type(error).__name__}: {error}", None)
    assert record.entry(entry.id) is entry


def test_a_retry_makes_the_same_entry_live_again(run: Run, asked: Request) -> None:
    record, entry = Record(), asked.entry
    upstream = answering(Response(500, content=b"{}"), UpstreamError(OSError("down")), streaming())
    run(record(asked, upstream))
    assert (entry.status, entry.complete) == (500, False)
    with pytest.raises(UpstreamError):
        run(record(asked.replace(attempt=1), upstream))
    assert (entry.status, entry.complete, entry.error) == (None, False, "UpstreamError: OSError: down")

    async def third() -> None:
        response = await record(asked.replace(attempt=2), upstream)
        assert (entry.status, entry.complete, entry.error, entry.latency_s) == (200, None, None, None)
        await response.read()

    run(third())
    assert (entry.status, entry.complete, entry.error) == (200, True, None)


def test_a_clock_that_goes_back_gives_no_negative_latency(
    run: Run, asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: asked.entry.clock - 100)
    run(_settles(asked))
    assert asked.entry.latency_s == 0.0


async def _settles(asked: Request) -> None:
    await Record()(asked, answering(Response(200, content=b"{}")))


def test_the_oldest_entries_are_forgotten_first() -> None:
    record, entries = Record(recent=2), [Entry("chat", "m") for _ in range(3)]
    for entry in entries:
        request = Request("chat", {}, "https://x.test/", entry, SyncRuntime())
        drive(record(request, answering(Response(200))))
    assert [record.entry(entry.id) for entry in entries] == [None, *entries[1:]]
    assert record.entry("e-unknown") is None


def test_memory_is_bounded_by_default() -> None:
    assert RECENT <= 100_000
    assert Record()._recent == RECENT


def test_many_threads_record_side_by_side() -> None:
    record = Record(recent=50)

    def call(_: int) -> Entry:
        entry = Entry("chat", "m")
        drive(record(Request("chat", {}, "https://x.test/", entry, SyncRuntime()), answering(Response(200))))
        return entry

    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(call, range(400)))
    assert all(entry.complete for entry in entries)
    assert sum(record.entry(entry.id) is not None for entry in entries) == 50


def test_a_record_that_fails_costs_nobody_the_call(asked: Request, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    record = Record()
    monkeypatch.setattr(record, "_keep", fail)
    answer = run(compose([record], answering(Response(200, content=b"{}")))(asked))
    assert answer.content == b"{}"
    assert [(act.name, act.action) for act in asked.entry.layers] == [("record", "failed")]


def test_recent_entries_come_newest_first(asked: Request, run: Run) -> None:
    record = Record()
    entries = [Entry("chat", str(number)) for number in range(3)]
    for entry in entries:
        run(record(asked.replace(entry=entry), answering(Response(200))))
    assert record.recent(2) == entries[:0:-1]
    assert record.recent(0) == record.recent(-1) == []
