"""Generators inside a block: each step in it, its caller outside, and everything that passes through."""

import asyncio
import contextvars
import gc
import inspect
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmsaver.core.options import Options, current_options, options
from llmsaver.core.scope import budget, feature
from llmsaver.errors import ConfigurationError


def path() -> tuple[str, ...]:
    """Return where a call made now would be booked."""
    return current_options.get().path


def budgets() -> list[str]:
    """Return the budgets a call made now would be charged to, outermost first."""
    return [rule.name for rule in current_options.get().rules]


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    assert current_options.get() == Options()
    yield
    assert current_options.get() == Options()


class TestGenerators:
    def test_each_step_runs_inside_and_its_caller_outside(self) -> None:
        @feature("a")
        def count() -> Generator[Any, Any, str]:
            for _ in range(2):
                yield path()
            return "done"

        assert inspect.isgeneratorfunction(count)
        seen: list[Any] = []

        def consume() -> Iterator[None]:
            seen.append((yield from count()))

        for _ in consume():
            assert path() == ()
        assert seen == ["done"]
        assert list(count()) == [("a",), ("a",)]

    def test_blocks_inside_stay_the_generators_own(self) -> None:
        @budget("a", usd=1)
        def walk() -> Iterator[Any]:
            with feature("b"), options(user="u"):
                yield path()
                yield path(), current_options.get().user
            yield path()

        steps = walk()
        assert next(steps) == ("a", "b")
        with feature("x"), budget("cap", calls=1):
            assert next(steps) == (("x", "cap", "a", "b"), "u"), "budgets around a step count for the step"
            assert (path(), budgets()) == (("x", "cap"), ["cap"])
            assert next(steps) == ("x", "cap", "a")
        assert list(steps) == []

    def test_what_is_sent_and_thrown_in_passes(self) -> None:
        @feature("a")
        def echo() -> Generator[Any, Any, str]:
            got = None
            while got != "stop":
                try:
                    got = yield got
                except KeyError as error:
                    got = ("caught", error.args, path())
            return "end"

        one = echo()
        assert next(one) is None
        assert one.send(1) == 1
        assert one.throw(KeyError("k")) == ("caught", ("k",), ("a",))
        with pytest.raises(StopIteration) as stop:
            one.send("stop")
        assert stop.value.value == "end"

        other = echo()
        next(other)
        with pytest.raises(ZeroDivisionError) as caught:
            other.throw(ZeroDivisionError("z"))
        assert caught.value.__context__ is None

    def test_closing_reaches_the_inner_one_inside(self) -> None:
        seen = []

        @feature("a")
        def forever() -> Iterator[int]:
            try:
                while True:
                    yield 1
            finally:
                seen.append(path())

        one: Any = forever()
        next(one)
        one.close()
        dropped = forever()
        next(dropped)
        del dropped
        assert seen == [("a",), ("a",)]

    def test_one_that_will_not_close_is_told_so(self) -> None:
        @feature("a")
        def stubborn() -> Iterator[int]:
            try:
                yield 1
            except GeneratorExit:
                yield 2

        one: Any = stubborn()
        next(one)
        with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
            one.close()

    def test_one_that_never_starts_runs_nothing(self) -> None:
        ran = []

        @feature("a")
        def never() -> Iterator[int]:
            ran.append(1)
            yield 1

        one: Any = never()
        one.close()
        assert ran == []

    @pytest.mark.parametrize("kind", ["thrown in", "its own"])
    def test_an_error_is_freed_at_once(self, kind: str) -> None:
        class Failure(LookupError):  # noqa: N818 - a short word in a short test
            """One whose end can be seen."""

        @feature("a")
        def steps() -> Iterator[int]:
            yield 1
            raise Failure

        def fail() -> weakref.ref[Failure]:
            one: Any = steps()
            next(one)
            try:
                one.throw(Failure()) if kind == "thrown in" else next(one)
            except Failure as error:
                return weakref.ref(error)
            raise AssertionError

        gc.disable()
        try:
            assert fail()() is None
        finally:
            gc.enable()

    def test_a_budget_that_cannot_be_entered_stops_the_first_step(self) -> None:
        @budget("a", usd=2)
        def steps() -> Iterator[int]:
            yield 1

        with budget("a", usd=1):
            with pytest.raises(ConfigurationError, match="declared twice"):
                next(steps())
            assert (path(), budgets()) == (("a",), ["a"])

    def test_one_stepped_by_turns_in_several_threads(self) -> None:
        @feature("a")
        def walk() -> Iterator[Any]:
            with feature("b"):
                yield path()
                yield path()
            yield path()

        steps = walk()
        with ThreadPoolExecutor(1) as pool, feature("here"):
            assert pool.submit(contextvars.copy_context().run, next, steps).result() == ("here", "a", "b")
            assert pool.submit(next, steps).result() == ("a", "b")
            assert next(steps) == ("here", "a")
            assert pool.submit(path).result() == ()


class TestAsyncGenerators:
    async def test_each_step_runs_inside_and_its_caller_outside(self) -> None:
        @feature("a")
        async def count() -> AsyncIterator[Any]:
            for _ in range(2):
                await asyncio.sleep(0)
                yield path()

        assert inspect.isasyncgenfunction(count)
        async for seen in count():
            assert (seen, path()) == (("a",), ())

    async def test_blocks_inside_stay_the_generators_own(self) -> None:
        @budget("a", usd=1)
        async def walk() -> AsyncIterator[Any]:
            async with feature("b"):
                yield path()
                await asyncio.sleep(0)
                yield path()
            yield path()

        steps = walk()
        assert await anext(steps) == ("a", "b")
        # Each step in a task, and so in a context, of its own, as asyncio.wait_for makes one on Python 3.11.
        assert await asyncio.create_task(_next(steps)) == ("a", "b")
        assert await asyncio.create_task(_next(steps)) == ("a",)
        assert [step async for step in steps] == []

    async def test_what_is_sent_and_thrown_in_passes(self) -> None:
        @feature("a")
        async def echo() -> AsyncGenerator[Any, Any]:
            got = None
            while got != "stop":
                try:
                    got = yield got
                except KeyError as error:
                    got = ("caught", error.args, path())

        one = echo()
        assert await anext(one) is None
        assert await one.asend(1) == 1
        assert await one.athrow(KeyError("k")) == ("caught", ("k",), ("a",))
        with pytest.raises(StopAsyncIteration):
            await one.asend("stop")
        other = echo()
        await anext(other)
        with pytest.raises(ZeroDivisionError):
            await other.athrow(ZeroDivisionError())

    async def test_closing_reaches_the_inner_one_inside(self) -> None:
        seen = []

        @feature("a")
        async def forever() -> AsyncGenerator[int, None]:
            try:
                while True:
                    yield 1
            finally:
                await asyncio.sleep(0)
                seen.append(path())

        one = forever()
        await anext(one)
        await one.aclose()
        dropped = forever()
        await anext(dropped)
        del dropped
        for _ in range(100):  # the loop closes it in a task of its own
            await asyncio.sleep(0)
        assert seen == [("a",), ("a",)]

    async def test_one_that_will_not_close_is_told_so(self) -> None:
        @feature("a")
        async def stubborn() -> AsyncGenerator[int, None]:
            try:
                yield 1
            except GeneratorExit:
                yield 2

        one = stubborn()
        await anext(one)
        with pytest.raises(RuntimeError, match="async generator ignored GeneratorExit"):
            await one.aclose()

    async def test_cancelling_its_consumer_reaches_it(self) -> None:
        seen = []

        @feature("a")
        async def slow() -> AsyncIterator[int]:
            try:
                await asyncio.sleep(60)
                yield 1
            except asyncio.CancelledError:
                seen.append(path())
                raise

        consumer = asyncio.create_task(_next(slow()))
        await asyncio.sleep(0.01)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        assert seen == [("a",)]


async def _next(steps: AsyncIterator[Any]) -> Any:
    return await anext(steps)
