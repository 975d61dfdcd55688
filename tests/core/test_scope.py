"""feature, task and budget: what they say about the calls inside, however the code inside is run."""

import asyncio
import contextvars
import functools
import inspect
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, assert_type

import pytest

from llmsaver.core.options import Options, current_options, options
from llmsaver.core.scope import Scope, budget, feature, task
from llmsaver.errors import ConfigurationError


def path() -> tuple[str, ...]:
    """Return where a call made now would be booked."""
    return current_options.get().path


def untyped(value: Any) -> Any:
    """Return a value that a type checker would refuse."""
    return value


def budgets() -> list[str]:
    """Return the budgets a call made now would be charged to, outermost first."""
    return [rule.name for rule in current_options.get().rules]


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    assert current_options.get() == Options()
    yield
    assert current_options.get() == Options()


class TestBlocks:
    def test_a_feature_says_whose_calls_they_are(self) -> None:
        with feature("search", user="u42", tenant="acme", conversation="c1", tags={"env": "prod"}):
            assert current_options.get() == Options(
                feature="search", user="u42", tenant="acme", conversation="c1", tags={"env": "prod"}, path=("search",)
            )

    def test_features_nest_and_what_is_not_said_is_inherited(self) -> None:
        with feature("a", user="u", tags={"x": "1", "y": "1"}), feature("b", user=None, tags={"y": "2"}):
            inside = current_options.get()
        assert (inside.feature, inside.path, inside.user) == ("b", ("a", "b"), "u")
        assert inside.tags == {"x": "1", "y": "2"}

    def test_a_budget_is_a_feature_too_and_all_are_kept(self) -> None:
        with feature("a"), budget("b", usd=5) as outer, budget("c", calls=1, per="day"):
            assert (path(), budgets(), current_options.get().feature) == (("a", "b", "c"), ["b", "c"], "c")
            assert current_options.get().rules[0] is outer.rule

    def test_one_budget_entered_twice_is_charged_once(self) -> None:
        with budget("a", usd=5), budget("b", usd=1), budget("a", usd="5.00"):
            assert (path(), budgets()) == (("a", "b", "a"), ["a", "b"])

    def test_one_budget_inside_itself_on_other_terms_is_refused(self) -> None:
        with budget("a", usd=5), pytest.raises(ConfigurationError, match="budget 'a' is declared twice"):
            budget("a", usd=6).__enter__()

    def test_other_ways_to_name_a_feature_go_inside(self) -> None:
        with feature("a"), options(feature="b"):
            inside = current_options.get().with_headers({"x-llmsaver-feature": "c"})
            inside = inside.merged({"feature": "d"}, "extra_body['llmsaver']")
        assert (inside.feature, inside.path) == ("d", ("a", "b", "c", "d"))
        assert inside.merged({"feature": "d", "user": "u"}, "again").path == ("a", "b", "c", "d")

    def test_a_block_ends_with_an_error(self) -> None:
        with pytest.raises(KeyError), feature("a"):
            raise KeyError

    def test_a_block_can_be_entered_again_while_it_is_open(self) -> None:
        block = feature("a")
        with block:
            with feature("b"), block:
                assert path() == ("a", "b", "a")
            assert path() == ("a",)

    def test_a_block_ends_whatever_is_open_inside_it(self) -> None:
        outer, inner = feature("a"), feature("b")
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        assert path() == ()
        inner.__exit__(None, None, None)
        assert path() == ()

    async def test_blocks_are_asynchronous_too(self) -> None:
        async with feature("a"), budget("b", usd=1), task("t") as work:
            await asyncio.sleep(0)
            assert (path(), budgets(), current_options.get().work) == (("a", "b"), ["b"], work)

    def test_tags_are_copied(self) -> None:
        tags = {"a": "1"}
        block = feature("f", tags=tags)
        tags["b"] = "2"
        with block:
            assert current_options.get().tags == {"a": "1"}

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (lambda: feature(""), "option 'feature' in llmsaver.feature() must be a non-empty string"),
            (lambda: feature(untyped(len)), "option 'feature'"),
            (
                lambda: feature("f", user=untyped(3)),
                "option 'user' in llmsaver.feature() must be a non-empty string, not 3",
            ),
            (
                lambda: feature("f", tags=untyped({"a": 1})),
                "option 'tags' in llmsaver.feature() must map strings to strings",
            ),
            (lambda: task(untyped(17)), "option 'task' in llmsaver.task() must be a non-empty string, not 17"),
            (lambda: budget("b"), "budget 'b' caps nothing"),
            (lambda: budget(untyped(print)), "a budget's name must be a string"),
        ],
    )
    def test_wrong_arguments_are_refused_at_once(self, wrong: Callable[[], Any], said: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            wrong()
        assert said in str(caught.value)

    @pytest.mark.parametrize("fn", [3, dict, Options])
    def test_only_functions_are_decorated(self, fn: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"feature\(\) decorates functions and methods, not "):
            feature("f")(fn)

    @pytest.mark.parametrize("name", ["path", "rules", "work", "outer"])
    def test_what_follows_from_the_blocks_cannot_be_named(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match=f"unknown option '{name}'"):
            options(**{name: ()}).__enter__()

    def test_the_base_changes_nothing_by_itself(self) -> None:
        with pytest.raises(NotImplementedError):
            Scope().__enter__()


class TestFunctions:
    def test_a_function_runs_inside(self) -> None:
        @budget("support-bot", usd=5, per="day")
        def answer(question: str, *, loud: bool = False) -> str:
            """Answer."""
            assert path() == ("support-bot",)
            return question.upper() if loud else question

        assert_type(answer("a"), str)
        assert answer("a", loud=True) == "A"
        assert (answer.__name__, answer.__doc__) == ("answer", "Answer.")
        assert list(inspect.signature(answer).parameters) == ["question", "loud"]

    def test_an_error_comes_through(self) -> None:
        @feature("a")
        def fail() -> None:
            raise KeyError("x")

        with pytest.raises(KeyError, match="x"):
            fail()

    def test_recursion(self) -> None:
        @budget("walk", usd=1)
        def walk(depth: int) -> list[Any]:
            return [(path(), budgets())] + (walk(depth - 1) if depth else [])

        assert walk(100) == [(("walk",), ["walk"])] * 101

    async def test_a_coroutine_function_stays_one(self) -> None:
        @feature("a")
        async def answer() -> tuple[str, ...]:
            await asyncio.sleep(0)
            return path()

        assert inspect.iscoroutinefunction(answer)
        made = answer()
        assert path() == ()
        assert_type(await made, tuple[str, ...])
        assert await answer() == ("a",)

    @pytest.mark.parametrize("around", [feature("m"), lambda fn: staticmethod(feature("m")(fn))])
    def test_static_methods_either_way_round(self, around: Callable[[Any], Any]) -> None:
        class Bot:
            told = around(path)
            turned = feature("m")(staticmethod(path))

        assert Bot.turned() == Bot().turned() == ("m",)
        assert Bot.told() == ("m",)

    def test_methods_and_class_methods(self) -> None:
        def named(cls: type) -> tuple[str, tuple[str, ...]]:
            return cls.__name__, path()

        class Bot:
            inner: Any = feature("m")(classmethod(named))  # type: ignore[type-var]  # callable once bound

            @classmethod
            @feature("m")
            def outer(cls) -> tuple[str, tuple[str, ...]]:
                return named(cls)

            @feature("m")
            def told(self) -> tuple["Bot", tuple[str, ...]]:
                return self, path()

        bot = Bot()
        assert bot.inner() == Bot.inner() == Bot.outer() == ("Bot", ("m",))
        assert bot.told() == (bot, ("m",))

    async def test_what_a_plain_function_leaves_to_do_is_done_inside(self) -> None:
        async def coroutine() -> tuple[str, ...]:
            return path()

        def generator() -> Iterator[tuple[str, ...]]:
            yield path()

        async def async_generator() -> AsyncIterator[tuple[str, ...]]:
            yield path()

        @feature("a")
        def pick(fn: Callable[[], Any]) -> Any:
            return fn()

        assert await pick(coroutine) == ("a",)
        assert list(pick(generator)) == [("a",)]
        assert [seen async for seen in pick(async_generator)] == [("a",)]
        assert await feature("b")(functools.partial(coroutine))() == ("b",)


class TestConcurrency:
    async def test_one_decorated_function_in_fifty_tasks(self) -> None:
        @budget("shared", usd=1)
        async def inner() -> tuple[Any, ...]:
            await asyncio.sleep(0.001)
            return path(), budgets()

        async def outer(i: int) -> tuple[Any, ...]:
            with feature(f"f{i}"):
                await asyncio.sleep(0.001 * (i % 3))
                found = await inner()
                return (*found, path())

        found = await asyncio.gather(*(outer(i) for i in range(50)))
        assert found == [((f"f{i}", "shared"), ["shared"], (f"f{i}",)) for i in range(50)]

    async def test_a_task_keeps_what_it_was_started_in(self) -> None:
        async def later() -> tuple[str, ...]:
            await asyncio.sleep(0.005)
            return path()

        with feature("a"):
            started = asyncio.create_task(later())
        assert path() == ()
        assert await started == ("a",)
        with feature("a"):
            assert await asyncio.to_thread(path) == ("a",)

    def test_one_block_and_one_function_in_many_threads(self) -> None:
        block = feature("shared")

        @block
        def inside() -> tuple[str, ...]:
            time.sleep(0.001)
            return path()

        def work(i: int) -> tuple[Any, ...]:
            with feature(f"f{i}"):
                found = inside()
                with block:
                    time.sleep(0.001)
                    found = (*found, *path())
                return (*found, *path())

        with ThreadPoolExecutor(16) as pool:
            for i, found in enumerate(pool.map(work, range(64))):
                assert found == (f"f{i}", "shared", f"f{i}", "shared", f"f{i}")

    def test_the_one_line_that_takes_a_thread_along(self) -> None:
        def answer(question: str) -> tuple[Any, ...]:
            return question, path(), budgets()

        with ThreadPoolExecutor(2) as pool, budget("support-bot", usd=5):
            futures = [pool.submit(contextvars.copy_context().run, answer, q) for q in "ab"]
            bare = pool.submit(answer, "c")
        assert [future.result() for future in futures] == [(q, ("support-bot",), ["support-bot"]) for q in "ab"]
        assert bare.result() == ("c", (), [])

    def test_a_generator_dropped_in_another_thread_changes_nothing_there(self) -> None:
        def leaky() -> Iterator[int]:
            with feature("leaky"):
                yield 1

        kept: list[Any] = []
        thread = threading.Thread(target=lambda: kept.extend(one for one in [leaky()] if next(one)))
        thread.start()
        thread.join()
        with feature("here"):
            kept.clear()
            assert path() == ("here",)


class TestTask:
    def test_a_task_names_its_calls_and_is_at_hand(self) -> None:
        before = time.time()
        with task("ticket-17") as work:
            inside = current_options.get()
            assert (inside.task, inside.work, work.ended_at) == ("ticket-17", work, None)
            work.resolve()
        assert (work.id, work.resolved) == ("ticket-17", True)
        assert work.started_at is not None
        assert work.ended_at is not None
        assert before <= work.started_at <= work.ended_at <= time.time()

    def test_tasks_nest(self) -> None:
        with task("a") as outer:
            with task("b") as inner:
                assert (current_options.get().task, current_options.get().work) == ("b", inner)
            assert (current_options.get().task, current_options.get().work) == ("a", outer)

    def test_a_task_named_for_one_call_is_not_the_one_around_it(self) -> None:
        with task("a") as work:
            assert current_options.get().merged({"task": "a", "user": "u"}, "here").work is work
            assert current_options.get().with_headers({"x-llmsaver-task": "b"}).work is None

    def test_an_error_leaves_it_open_unless_it_was_resolved(self) -> None:
        work, failed = task("a"), task("b")
        with pytest.raises(KeyError), work:
            raise KeyError
        failed.resolve(False)
        with pytest.raises(KeyError), failed:
            raise KeyError
        assert (work.resolved, failed.resolved) == (None, False)
        assert work.ended_at is not None

    def test_who_asked_is_told_when_it_is_resolved_and_when_it_ends(self) -> None:
        seen: list[Any] = []

        def note(work: task) -> None:
            seen.append((work.id, work.resolved, work.ended_at is not None, path()))

        with task("t") as work:
            work.tell(note)
            work.tell(note)
            work.resolve()
        work.resolve(False)
        assert seen == [("t", True, False, ()), ("t", True, True, ()), ("t", False, True, ())]

    def test_who_fails_at_being_told_breaks_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(work: task) -> None:
            raise OSError(work.id)

        seen: list[task] = []
        with caplog.at_level(logging.WARNING, "llmsaver"), task("t") as work:
            work.tell(broken)
            work.tell(seen.append)
        assert seen == [work]
        assert "what became of task 't' was not noted" in caplog.text

    def test_it_can_be_taken_up_again(self) -> None:
        work = task("t")
        with work:
            pass
        first = (work.started_at, work.ended_at)
        with work:
            time.sleep(0.002)
        assert work.started_at == first[0]
        assert work.ended_at is not None
        assert first[1] is not None
        assert work.ended_at > first[1]

    async def test_every_call_of_a_decorated_function_is_one_of_its_own(self) -> None:
        found: list[task] = []

        def work() -> task:
            found.append(one := current_options.get().work or task("none"))
            return one

        @task("nightly")
        def plain() -> None:
            work()

        @task("nightly")
        async def coroutine() -> None:
            work().resolve()

        @task("nightly")
        def generator() -> Iterator[float | None]:
            one = work()
            yield one.ended_at
            yield one.ended_at

        plain()
        await coroutine()
        assert list(generator()) == [None, None]
        assert [one.id for one in found] == ["nightly"] * 3
        assert [one.resolved for one in found] == [None, True, None]
        assert len({id(one) for one in found}) == 3
        assert all(one.ended_at is not None for one in found)


def test_types_of_what_is_decorated() -> None:
    @feature("a")
    async def coroutine(question: str) -> int:
        return len(question)

    @budget("b", usd="0.5", tokens=10, on_threshold=[0.5])
    def generator() -> Generator[int, str, bytes]:
        yield 1
        return b""

    one: Coroutine[Any, Any, int] = coroutine("x")
    other: Generator[int, str, bytes] = generator()
    one.close()
    other.close()
