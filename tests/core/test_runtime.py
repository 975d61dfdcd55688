"""drive, Flight and the two runtimes: nothing suspends under a synchronous client, and threads and loops meet."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any
from unittest import mock

import pytest

from llmsaver.core.background import Background
from llmsaver.core.runtime import PATIENCE, AsyncRuntime, Flight, Runtime, Suspended, SyncRuntime, drive

SOON = 60.0  # seconds: a bound for what takes milliseconds, so that a bug fails instead of hanging


class Pause:
    """Awaiting it suspends, as anything does that needs a loop."""

    def __await__(self) -> Generator[None, None, str]:
        yield
        return "resumed"


async def value_of(value: Any) -> Any:
    return value


async def fail_with(error: Exception) -> None:
    raise error


class TestDrive:
    def test_returns_what_the_coroutine_returns(self) -> None:
        assert drive(value_of(42)) == 42
        assert drive(value_of(None)) is None

    def test_lets_its_errors_through(self) -> None:
        with pytest.raises(KeyError, match="mine"):
            drive(fail_with(KeyError("mine")))

    def test_lets_the_end_of_an_iteration_through(self) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"a"

        body = chunks()
        assert drive(value_of(None)) is None
        assert drive(body.__anext__()) == b"a"  # type: ignore[arg-type]  # an async generator's step drives alike
        with pytest.raises(StopAsyncIteration):
            drive(body.__anext__())  # type: ignore[arg-type]  # the same

    def test_raises_at_the_await_that_suspended(self) -> None:
        async def waits() -> None:
            await Pause()

        with pytest.raises(Suspended, match=r"needs an event loop, under a synchronous client.*request\.runtime only"):
            drive(waits())

    def test_a_coroutine_may_catch_it_and_return(self) -> None:
        async def waits() -> str:
            try:
                return await Pause()
            except Suspended:
                return "did without"

        assert drive(waits()) == "did without"

    def test_each_of_several_awaits_is_told(self) -> None:
        async def waits() -> int:
            caught = 0
            for _ in range(PATIENCE - 1):
                try:
                    await Pause()
                except Suspended:
                    caught += 1
            return caught

        assert drive(waits()) == PATIENCE - 1

    def test_a_coroutine_that_never_stops_suspending_is_closed(self) -> None:
        ended: list[str] = []

        async def waits() -> None:
            try:
                while True:
                    try:
                        await Pause()
                    except Suspended:
                        continue
            finally:
                ended.append("closed")

        waiting = waits()  # kept: the collector would close it as well
        with pytest.raises(Suspended, match="kept waiting"):
            drive(waiting)
        assert ended == ["closed"]

    def test_an_error_raised_in_answer_to_it_passes(self) -> None:
        async def waits() -> None:
            try:
                await Pause()
            except Suspended:
                raise LookupError("instead") from None

        with pytest.raises(LookupError, match="instead"):
            drive(waits())

    def test_asyncio_inside_a_running_loop_suspends_too(self) -> None:
        async def outer() -> None:
            with pytest.raises(Suspended):
                drive(asyncio.sleep(0))

        asyncio.run(outer())


class TestFlight:
    def test_lands_once_and_calls_back_once(self) -> None:
        flight, calls = Flight(), list[str]()
        flight.add_callback(lambda: calls.append("before"))
        assert calls == []
        flight.land()
        flight.land()
        flight.add_callback(lambda: calls.append("after"))
        assert flight.landed
        assert calls == ["before", "after"]

    def test_a_callback_may_ask_the_flight_without_deadlock(self) -> None:
        flight, calls = Flight(), list[bool]()
        flight.add_callback(lambda: flight.add_callback(lambda: calls.append(flight.landed)))
        flight.land()
        assert calls == [True]

    def test_block_returns_whether_it_landed_in_time(self) -> None:
        flight = Flight()
        assert flight.landed is False
        assert flight.block(0.0) is False
        assert flight.block(0.01) is False
        flight.land()
        assert flight.block(0.0) is True
        assert flight.block(None) is True


def lands_soon(flight: Flight) -> threading.Timer:
    timer = threading.Timer(0.02, flight.land)
    timer.start()
    return timer


class TestWait:
    def test_wakes_when_another_thread_lands(self, run: Callable[..., Any], runtime: Runtime) -> None:
        flight = Flight()
        timer = lands_soon(flight)
        assert run(runtime.wait(flight, SOON)) is True
        timer.join()

    def test_without_a_limit(self, run: Callable[..., Any], runtime: Runtime) -> None:
        flight = Flight()
        timer = lands_soon(flight)
        assert run(runtime.wait(flight)) is True
        timer.join()

    @pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.01])
    def test_gives_up_in_time(self, run: Callable[..., Any], runtime: Runtime, seconds: float) -> None:
        began = time.monotonic()
        assert run(runtime.wait(Flight(), seconds)) is False
        assert time.monotonic() - began < SOON

    @pytest.mark.parametrize("seconds", [-1.0, 0.0, None])
    def test_a_flight_that_has_landed_is_seen_at_once(
        self, run: Callable[..., Any], runtime: Runtime, seconds: float | None
    ) -> None:
        flight = Flight()
        flight.land()
        assert run(runtime.wait(flight, seconds)) is True

    def test_many_waiters_in_threads_and_loops_share_one_flight(self) -> None:
        flight = Flight()

        async def many() -> list[bool]:
            return await AsyncRuntime().gather(*[AsyncRuntime().wait(flight, SOON) for _ in range(100)])

        with ThreadPoolExecutor(4) as pool:
            loops = [pool.submit(asyncio.run, many()) for _ in range(2)]
            threads = [pool.submit(drive, SyncRuntime().wait(flight, SOON)) for _ in range(2)]
            lands_soon(flight).join()
            assert [future.result() for future in threads] == [True, True]
            assert [set(future.result()) for future in loops] == [{True}, {True}]

    def test_no_worker_thread_waits_for_a_loop(self) -> None:
        async def waiters() -> set[threading.Thread]:
            flight = Flight()
            tasks = [asyncio.create_task(AsyncRuntime().wait(flight, SOON)) for _ in range(60)]
            await asyncio.sleep(0)
            threads = set(threading.enumerate())
            flight.land()
            await asyncio.gather(*tasks)
            return threads

        before = set(threading.enumerate())
        assert asyncio.run(waiters()) <= before

    def test_flights_that_land_together_wake_their_loop_once(self) -> None:
        async def main() -> int:
            loop, runtime = asyncio.get_running_loop(), AsyncRuntime()
            flights = [Flight() for _ in range(50)]
            waiting = [asyncio.create_task(runtime.wait(flight)) for flight in flights]
            waiting += [asyncio.create_task(runtime.wait(flight, 30.0)) for flight in flights]
            given_up = asyncio.create_task(runtime.wait(flights[0]))
            await asyncio.sleep(0)
            given_up.cancel()
            woken: list[Any] = []
            with mock.patch.object(loop, "call_soon_threadsafe", woken.append), ThreadPoolExecutor(1) as pool:
                list(pool.map(Flight.land, flights))
            for wake in woken:
                wake()
            assert await asyncio.gather(*waiting) == [True] * 100
            assert await runtime.wait(flights[0]), "it has landed long ago"
            return len(woken)

        assert asyncio.run(main()) == 1

    def test_landing_after_the_loop_was_closed_wakes_the_others(self) -> None:
        flight, calls = Flight(), list[str]()

        async def gives_up() -> bool:
            return await AsyncRuntime().wait(flight, 0.001)

        assert asyncio.run(gives_up()) is False
        flight.add_callback(lambda: calls.append("woken"))
        flight.land()
        assert calls == ["woken"]


class TestRuntimes:
    def test_offload_returns_and_raises_what_the_function_does(self, run: Callable[..., Any], runtime: Runtime) -> None:
        assert run(runtime.offload(pow, 2, 10)) == 1024
        with pytest.raises(ZeroDivisionError):
            run(runtime.offload(divmod, 1, 0))

    def test_offload_runs_here_or_in_a_worker(self, run: Callable[..., Any], runtime: Runtime) -> None:
        worker = run(runtime.offload(threading.get_ident))
        assert (worker == threading.get_ident()) is isinstance(runtime, SyncRuntime)

    def test_offload_without_a_loop_runs_inline(self) -> None:
        assert drive(AsyncRuntime().offload(threading.get_ident)) == threading.get_ident()

    def test_offload_carries_the_callers_variables(self, run: Callable[..., Any], runtime: Runtime) -> None:
        token = VARIABLE.set("mine")
        try:
            assert run(runtime.offload(VARIABLE.get)) == "mine"
        finally:
            VARIABLE.reset(token)

    @pytest.mark.parametrize("seconds", [0.02, 0.0, -1.0])
    def test_sleep(self, run: Callable[..., Any], runtime: Runtime, seconds: float) -> None:
        began = time.monotonic()
        run(runtime.sleep(seconds))
        assert max(seconds, 0.0) - 0.005 <= time.monotonic() - began < SOON

    def test_detached_work_runs_in_the_background(self, runtime: SyncRuntime | AsyncRuntime) -> None:
        flight = Flight()
        assert runtime.detach(flight.land) is True
        assert flight.block(SOON)

    @pytest.mark.parametrize("kind", [SyncRuntime, AsyncRuntime])
    def test_detached_work_goes_to_the_given_background(self, kind: type[SyncRuntime | AsyncRuntime]) -> None:
        background, release = Background(capacity=1), Flight()
        started = Flight()

        def occupy() -> None:
            started.land()
            release.block(SOON)

        assert kind(background).detach(occupy) is True
        assert started.block(SOON)
        assert kind(background).detach(lambda: None) is True
        assert kind(background).detach(lambda: None) is False
        assert background.dropped == 1
        release.land()


VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


class TestGather:
    def test_results_come_in_order_whatever_ends_first(self, run: Callable[..., Any], runtime: Runtime) -> None:
        async def after(seconds: float) -> float:
            await runtime.sleep(seconds)
            return seconds

        began = time.monotonic()
        assert run(runtime.gather(after(0.06), after(0.0), after(0.03))) == [0.06, 0.0, 0.03]
        assert time.monotonic() - began < SOON

    def test_it_runs_side_by_side(self, run: Callable[..., Any], runtime: Runtime) -> None:
        here, there = Flight(), Flight()

        async def meet(mine: Flight, other: Flight) -> bool:
            mine.land()
            return await runtime.wait(other, SOON)

        assert run(runtime.gather(meet(here, there), meet(there, here))) == [True, True]

    @pytest.mark.parametrize("count", [0, 1])
    def test_none_and_one(self, run: Callable[..., Any], runtime: Runtime, count: int) -> None:
        assert run(runtime.gather(*[value_of("x") for _ in range(count)])) == ["x"] * count

    def test_the_first_error_in_order_is_raised_after_all_have_ended(
        self, run: Callable[..., Any], runtime: Runtime
    ) -> None:
        ended: list[str] = []

        async def late(error: Exception | None) -> None:
            await runtime.sleep(0.03)
            ended.append("late")
            if error:
                raise error

        with pytest.raises(KeyError, match="first"):
            run(runtime.gather(value_of(1), late(KeyError("first")), fail_with(ValueError("sooner")), late(None)))
        assert ended == ["late", "late"]

    def test_one_that_fails_alone(self, run: Callable[..., Any], runtime: Runtime) -> None:
        with pytest.raises(KeyError):
            run(runtime.gather(fail_with(KeyError())))

    def test_each_sees_the_callers_variables_and_keeps_its_own(self, run: Callable[..., Any], runtime: Runtime) -> None:
        async def swap(value: str) -> str:
            before = VARIABLE.get()
            VARIABLE.set(value)
            return before

        token = VARIABLE.set("callers")
        try:
            assert run(runtime.gather(swap("a"), swap("b"))) == ["callers", "callers"]
            assert VARIABLE.get() == "callers"
        finally:
            VARIABLE.reset(token)

    def test_a_part_that_suspends_under_a_synchronous_client_is_told(self) -> None:
        async def waits() -> str:
            return await Pause()

        with pytest.raises(Suspended):
            drive(SyncRuntime().gather(waits(), value_of(1)))


def in_forked_child(check: Callable[[], bool]) -> bool:
    """Run ``check`` in a forked child; return whether it returned True within ``SOON``."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if check() else 1
        finally:
            os._exit(status)
    until = time.monotonic() + SOON
    while time.monotonic() < until:
        if (ended := os.waitpid(child, os.WNOHANG)) != (0, 0):
            return os.waitstatus_to_exitcode(ended[1]) == 0
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # from 3.12: threads exist here, and that is the test
@pytest.mark.parametrize("kind", [SyncRuntime, AsyncRuntime])
def test_a_runtime_works_in_a_forked_child(kind: type[SyncRuntime | AsyncRuntime]) -> None:
    runtime = kind(Background())
    warm, blocked = Flight(), Flight()
    runtime.detach(warm.land)
    assert warm.block(SOON)
    runtime.detach(lambda: blocked.block(SOON))  # the parent's thread is busy, and will be missing in the child

    def child() -> bool:
        landed = Flight()
        runtime.detach(landed.land)

        async def uses() -> bool:
            both = await runtime.gather(runtime.offload(int, "1"), runtime.offload(int, "2"))
            return both == [1, 2] and await runtime.wait(landed, SOON)

        return bool(drive(uses()) if kind is SyncRuntime else asyncio.run(uses()))

    assert in_forked_child(child)
    blocked.land()
    assert runtime.background.drain(SOON)
