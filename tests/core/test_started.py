"""What runs beside the caller: taken, or dropped, under both kinds of client."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from llmsaver.core.runtime import AsyncRuntime, SyncRuntime, drive


class Answer:
    """Something that has to be closed by whoever does not want it."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def aclose(self) -> None:
        self.closed.set()


async def close(answer: Any) -> None:
    await answer.aclose()


def test_a_thread_runs_beside_its_caller_and_is_taken() -> None:
    runtime, go = SyncRuntime(), threading.Event()

    async def work() -> str:
        go.wait(60)
        return threading.current_thread().name

    async def caller() -> str:
        started = runtime.start(work)
        assert not await runtime.wait(started.flight, 0.01)
        go.set()
        assert await runtime.wait(started.flight, 60)
        return started.result()

    assert drive(caller()) == "llmsaver-started"


def test_what_a_thread_raises_is_the_callers() -> None:
    runtime = SyncRuntime()

    async def work() -> None:
        raise ValueError("no")

    async def caller() -> None:
        started = runtime.start(work)
        await runtime.wait(started.flight)
        await started.drop(close)
        started.result()

    with pytest.raises(ValueError, match="no"):
        drive(caller())


def test_what_a_dropped_thread_comes_to_is_closed_by_it() -> None:
    runtime, go, answer = SyncRuntime(), threading.Event(), Answer()

    async def work() -> Answer:
        go.wait(60)
        return answer

    drive(runtime.start(work).drop(close))
    assert not answer.closed.is_set()
    go.set()
    assert answer.closed.wait(60)


def test_what_has_landed_is_closed_by_who_drops_it() -> None:
    runtime, answer = SyncRuntime(), Answer()

    async def work() -> Answer:
        return answer

    async def caller() -> None:
        started = runtime.start(work)
        await runtime.wait(started.flight)
        await started.drop(close)

    drive(caller())
    assert answer.closed.is_set()


def test_an_answer_that_cannot_be_closed_hurts_nobody() -> None:
    runtime = SyncRuntime()

    async def work() -> None:
        return None

    async def fails(_: Any) -> None:
        raise OSError("gone")

    async def caller() -> None:
        started = runtime.start(work)
        await runtime.wait(started.flight)
        await started.drop(fails)

    drive(caller())


async def test_a_task_runs_beside_its_caller_and_is_taken() -> None:
    runtime = AsyncRuntime()

    async def work() -> int:
        await asyncio.sleep(0.01)
        return 3

    started = runtime.start(work)
    assert not started.flight.landed
    assert await runtime.wait(started.flight, 60)
    assert started.result() == 3


async def test_a_dropped_task_is_cancelled() -> None:
    runtime = AsyncRuntime()
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(time.monotonic())

    started = runtime.start(work)
    await asyncio.sleep(0.01)
    await started.drop(close)
    assert await runtime.wait(started.flight, 60)
    assert ended
    never = runtime.start(work)
    await never.drop(close)  # before it has begun
    await asyncio.sleep(0.01)
    assert len(ended) == 1
