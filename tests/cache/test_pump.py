"""A shared answer at its edges: loops that are gone, threads that cannot start."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.cache.pump import Shared
from llmsaver.core.outcome import Given
from llmsaver.core.response import Response
from llmsaver.core.runtime import AsyncRuntime, SyncRuntime, drive
from llmsaver.errors import LLMSaverError, LocalModelError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.core.request import Request


class Body:
    """Chunks, then an end or an error."""

    def __init__(self, *chunks: bytes, error: BaseException | None = None) -> None:
        self.left = list(chunks)
        self.error = error
        self.closed = 0

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        if self.left:
            return self.left.pop(0)
        raise self.error or StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


def nobody(_: Shared) -> None:
    """Retire unheard."""


def arriving(body: Body) -> Response:
    return Response(200, {"content-type": "text/event-stream"}, body=body)


@pytest.fixture
def request_(asked: Callable[..., Request]) -> Request:
    return asked(model="m", stream=True)


def read(response: Response) -> bytes:
    return drive(response.read())


def test_two_read_the_same(request_: Request) -> None:
    shared = Shared(request_, nobody)
    body = Body(b"a", b"b")
    first = shared.streaming(arriving(body), request_)
    assert shared.board()
    drive(shared.ready(request_))
    second = shared.follower(request_, None)
    assert read(second) == read(first) == b"ab"
    assert body.closed
    assert not shared.board()


def test_where_no_thread_can_start_the_first_reads_for_all(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    shared = Shared(request_, nobody)
    first = shared.streaming(arriving(Body(b"a", b"b")), request_)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        assert shared.board()
        assert read(first) == b"ab"
    drive(shared.ready(request_))
    assert shared.ended


def test_a_stranger_that_leaves_twice_leaves_once(request_: Request) -> None:
    shared = Shared(request_, nobody)
    body = Body(b"a", b"b")
    first = shared.streaming(arriving(body), request_)
    drive(first.aclose())
    drive(first.aclose())
    assert body.closed == 1
    assert shared._readers == 0
    assert isinstance(shared.error, RuntimeError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UpstreamError(ValueError("x")), UpstreamError),
        (LocalModelError("x"), LocalModelError),
        (KeyError("x"), LLMSaverError),
    ],
)
def test_what_breaks_it_is_told_to_each(request_: Request, error: Exception, kind: type[Exception]) -> None:
    shared = Shared(request_, nobody)
    first = shared.streaming(arriving(Body(b"a", error=error)), request_)
    assert shared.board()
    drive(shared.ready(request_))
    second = shared.follower(request_, None)
    raised = []
    for each in (first, second):
        with pytest.raises(kind) as caught:
            read(each)
        raised.append(caught.value)
    assert raised[0] is not raised[1]


def test_a_deadline_ends_the_wait(request_: Request) -> None:
    shared = Shared(request_, nobody)
    with pytest.raises(UpstreamError):
        drive(shared.ready(request_.replace(deadline=0.0)))


@pytest.mark.parametrize("cancel", ["before its first step", "closed"])
def test_a_loop_that_has_gone_ends_it(request_: Request, cancel: str) -> None:
    on_loop = request_.replace(runtime=AsyncRuntime())
    shared: Shared | None = None
    first: Response | None = None

    async def begin() -> None:
        nonlocal shared, first
        shared = Shared(on_loop, nobody)
        first = shared.streaming(arriving(Body(b"a")), on_loop)
        if cancel == "before its first step":
            assert shared.board()
            shared._start_task()
            assert shared._task is not None
            shared._task.cancel()

    asyncio.run(begin())
    assert shared is not None
    if cancel == "closed":
        assert shared.board()
    drive(shared.ready(request_))
    assert shared.ended
    assert not shared.failed
    with pytest.raises(LLMSaverError, match="cut short"):
        read(shared.follower(request_, None))
    assert first is not None
    drive(first.aclose())


def test_a_loop_that_closes_while_somebody_waits(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.cache.pump.LOOK_SECONDS", 0.01)
    loop = asyncio.new_event_loop()

    async def begin() -> Shared:
        return Shared(request_.replace(runtime=AsyncRuntime()), nobody)

    shared = loop.run_until_complete(begin())
    assert shared.board()
    assert not shared.blocked_by(SyncRuntime())
    loop.close()
    drive(shared.ready(request_))
    assert shared.ended


def test_the_first_gets_what_its_meter_says(request_: Request) -> None:
    shared = Shared(request_, nobody)
    response = Response(200, {"content-type": "text/event-stream"}, body=Body(b"a"), meter=Given({"a": 1}))
    first = shared.streaming(response, request_)
    assert read(first) == b"a"
    assert first.outcome is not None
    assert (first.outcome.message, first.outcome.facts, first.outcome.usage) == ({"a": 1}, {"a": 1}, None)


def test_a_pump_that_breaks_ends_it(request_: Request) -> None:
    class Stuck(Body):
        async def aclose(self) -> None:
            raise KeyError("cannot close")

    shared = Shared(request_, nobody)
    first = shared.streaming(arriving(Stuck(b"a")), request_)
    assert shared.board()
    drive(shared.ready(request_))
    assert read(shared.follower(request_, None)) == b"a"
    assert drive(first.__anext__()) == b"a"
