"""The fold and its guards: order, what a layer may break, what it may not, and how its doings are explained."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from llmsaver.core.entry import LayerAct
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import drive
from llmsaver.core.stack import CallNext, compose, layer_name
from llmsaver.errors import LLMSaverError, MiddlewareError, UpstreamError

Run = Callable[[Any], Any]


class Upstream:
    """The bottom of a test's stack: remembers what reached it and answers."""

    def __init__(self, *, streamed: bool = False, error: BaseException | None = None) -> None:
        self.requests: list[Request] = []
        self.answers: list[Response] = []
        self.closed = 0
        self.streamed = streamed
        self.error = error

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        answer = Response(200, body=self._chunks()) if self.streamed else Response(200, content=b"paid")
        self.answers.append(answer)
        return answer

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"pa"
            yield b"id"
        finally:
            self.closed += 1


class Layer:
    """An application's layer that does what it is told to."""

    def __init__(self, act: Callable[[Request, CallNext], Any], name: str = "mine") -> None:
        self.act = act
        self.name = name

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        return await self.act(request, call_next)  # type: ignore[no-any-return]  # some acts return nonsense


class BuiltIn(Layer):
    """The same, living where the library's own layers do."""

    __module__ = "llmsaver.middleware.pretend"


async def raise_before(_: Request, __: CallNext) -> Response:
    raise KeyError("bug")


async def raise_after(request: Request, call_next: CallNext) -> Response:
    await call_next(request)
    raise KeyError("bug")


async def forget_to_return(request: Request, call_next: CallNext) -> None:
    await call_next(request)


async def wait_before(request: Request, call_next: CallNext) -> Response:
    await asyncio.sleep(0)
    return await call_next(request)


async def wait_after(request: Request, call_next: CallNext) -> Response:
    answer = await call_next(request)
    await asyncio.sleep(0)
    return answer


async def pass_on(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


async def iterate(request: Request, call_next: CallNext) -> Response:
    answer = await call_next(request)
    async for _ in answer:
        break
    return answer


async def close(request: Request, call_next: CallNext) -> Response:
    answer = await call_next(request)
    await answer.aclose()
    return answer


def acts_of(request: Request) -> list[tuple[str, str, str]]:
    return [(act.name, act.action, act.why) for act in request.entry.layers]


class TestFold:
    def test_no_layers_is_the_upstream(self) -> None:
        upstream = Upstream()
        assert compose([], upstream) is upstream

    def test_the_first_layer_is_outermost(self, run: Run, asked: Request) -> None:
        seen: list[str] = []

        def tracing(name: str) -> Layer:
            async def trace(request: Request, call_next: CallNext) -> Response:
                seen.append(f"{name} in")
                answer = await call_next(request)
                seen.append(f"{name} out")
                return answer

            return Layer(trace, name)

        upstream = Upstream()
        answer = run(compose([tracing("a"), tracing("b")], upstream)(asked))
        assert seen == ["a in", "b in", "b out", "a out"]
        assert answer is upstream.answers[0]
        assert upstream.requests == [asked]

    def test_a_plain_async_function_is_a_layer(self, run: Run, asked: Request) -> None:
        async def cheaper(request: Request, call_next: CallNext) -> Response:
            return await call_next(request.replace(model="cheap"))

        upstream = Upstream()
        run(compose([cheaper], upstream)(asked))
        assert upstream.requests[0].model == "cheap"
        assert acts_of(asked) == [("cheaper", "changed", "model")]

    def test_names(self) -> None:
        class Nameless:
            pass

        assert layer_name(Layer(pass_on, "chosen")) == "chosen"
        assert layer_name(pass_on) == "pass_on"
        assert layer_name(Nameless()) == "Nameless"
        assert layer_name(Layer(pass_on, "")) == "Layer"


class TestExplaining:
    """Nothing is changed in silence: what a layer does not say about itself, its guard says."""

    def test_passing_on_needs_no_word(self, run: Run, asked: Request) -> None:
        run(compose([Layer(pass_on)], Upstream())(asked))
        assert acts_of(asked) == []

    def test_a_copy_with_an_equal_body_needs_no_word(self, run: Run, asked: Request) -> None:
        async def copies(request: Request, call_next: CallNext) -> Response:
            return await call_next(request.replace(body=dict(request.body), attempt=1))

        run(compose([Layer(copies)], Upstream())(asked))
        assert acts_of(asked) == []

    def test_changed_keys_are_named(self, run: Run, asked: Request) -> None:
        async def changes(request: Request, call_next: CallNext) -> Response:
            body = {key: value for key, value in request.body.items() if key != "messages"}
            return await call_next(request.replace(body={**body, "model": "n", "temperature": 0}))

        run(compose([Layer(changes)], Upstream())(asked))
        assert acts_of(asked) == [("mine", "changed", "model, messages, temperature")]

    def test_an_answer_of_its_own(self, run: Run, asked: Request) -> None:
        async def answers(_: Request, __: CallNext) -> Response:
            return Response.of({"id": "1"})

        upstream = Upstream()
        answer = run(compose([Layer(answers)], upstream)(asked))
        assert answer.content == b'{"id": "1"}'
        assert upstream.requests == []
        assert acts_of(asked) == [("mine", "answered", "without an upstream call")]

    def test_an_answer_replaced(self, run: Run, asked: Request) -> None:
        async def replaces(request: Request, call_next: CallNext) -> Response:
            await call_next(request)
            return Response.of({})

        run(compose([Layer(replaces)], Upstream())(asked))
        assert acts_of(asked) == [("mine", "replaced", "the answer")]

    def test_what_a_layer_says_itself_is_not_said_again(self, run: Run, asked: Request) -> None:
        async def says(request: Request, call_next: CallNext) -> Response:
            request.entry.act("mine", "shortened", "by half")
            return await call_next(request.with_body(messages=["x"]))

        run(compose([Layer(says)], Upstream())(asked))
        assert acts_of(asked) == [("mine", "shortened", "by half")]

    def test_an_inner_layers_word_does_not_silence_the_outer_one(self, run: Run, asked: Request) -> None:
        def sets(key: str) -> Layer:
            async def change(request: Request, call_next: CallNext) -> Response:
                return await call_next(request.with_body(**{key: 1}))

            return Layer(change, f"sets-{key}")

        run(compose([sets("a"), sets("b")], Upstream())(asked))
        assert asked.entry.layers == [LayerAct("sets-b", "changed", "b"), LayerAct("sets-a", "changed", "a")]

    def test_the_first_of_two_answers_was_not_replaced(self, run: Run, asked: Request) -> None:
        async def hedges(request: Request, call_next: CallNext) -> Response:
            first = await call_next(request)
            await call_next(request)
            return first

        upstream = Upstream()
        assert run(compose([Layer(hedges)], upstream)(asked)) is upstream.answers[0]
        assert acts_of(asked) == []


class TestBrokenLayers:
    def test_an_applications_bug_before_the_call_is_reported_under_its_name(
        self, run: Run, asked: Request, caplog: pytest.LogCaptureFixture
    ) -> None:
        upstream = Upstream()
        with pytest.raises(MiddlewareError, match="layer 'mine' failed: KeyError: 'bug'") as caught:
            run(compose([Layer(raise_before)], upstream)(asked))
        assert caught.value.layer == "mine"
        assert caught.value.__cause__ is None
        assert "LLMSaverError" in caught.value.__notes__[0]
        assert upstream.requests == []
        assert acts_of(asked) == [("mine", "failed", "KeyError: 'bug'")]
        assert [(r.levelno, r.message) for r in caplog.records] == [
            (logging.WARNING, "llmsaver: layer 'mine' failed: KeyError: 'bug'")
        ]

    def test_a_built_in_layers_bug_before_the_call_skips_the_layer(self, run: Run, asked: Request) -> None:
        upstream = Upstream()
        answer = run(compose([BuiltIn(raise_before, "saver")], upstream)(asked))
        assert answer is upstream.answers[0]
        assert upstream.requests == [asked]
        assert acts_of(asked) == [("saver", "failed", "KeyError: 'bug'")]

    def test_a_subclass_of_a_built_in_layer_is_the_applications(self, run: Run, asked: Request) -> None:
        class Derived(BuiltIn):
            pass

        with pytest.raises(MiddlewareError):
            run(compose([Derived(raise_before)], Upstream())(asked))

    @pytest.mark.parametrize("kind", [Layer, BuiltIn])
    @pytest.mark.parametrize("broken", [raise_after, forget_to_return])
    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_paid_answer_survives_a_bug_after_it(
        self, run: Run, asked: Request, kind: type[Layer], broken: Any, streamed: bool
    ) -> None:
        upstream = Upstream(streamed=streamed)

        async def call() -> bytes:
            answer = await compose([kind(broken)], upstream)(asked)
            assert answer is upstream.answers[0]
            return await answer.read()

        assert run(call()) == b"paid"
        assert len(upstream.requests) == 1
        assert [action for _, action, _ in acts_of(asked)] == ["failed"]

    @pytest.mark.parametrize("kind", [Layer, BuiltIn])
    @pytest.mark.parametrize("spends", [iterate, close])
    def test_an_answer_handed_on_in_part_is_an_error_never_a_shorter_answer(
        self, run: Run, asked: Request, kind: type[Layer], spends: Any
    ) -> None:
        upstream = Upstream(streamed=True)
        with pytest.raises(MiddlewareError, match=r"iterated or closed; read\(\) keeps a body"):
            run(compose([kind(spends)], upstream)(asked))
        assert len(upstream.requests) == 1
        assert upstream.answers[0].outcome is not None  # closed, and with it the connection

    def test_iterating_an_answer_that_was_read_costs_nothing(self, run: Run, asked: Request) -> None:
        async def reads_and_iterates(request: Request, call_next: CallNext) -> Response:
            answer = await call_next(request)
            await answer.read()
            async for _ in answer:
                pass
            return answer

        async def call() -> list[bytes]:
            answer = await compose([Layer(reads_and_iterates)] * 2, Upstream(streamed=True))(asked)
            return [chunk async for chunk in answer]

        assert run(call()) == [b"paid"]

    def test_of_two_paid_answers_the_latest_survives_and_the_other_is_closed(self, run: Run, asked: Request) -> None:
        async def asks_twice(request: Request, call_next: CallNext) -> Response:
            await call_next(request)
            await call_next(request)
            raise KeyError("bug")

        upstream = Upstream(streamed=True)
        assert run(compose([Layer(asks_twice)], upstream)(asked)) is upstream.answers[1]
        assert upstream.answers[0].outcome is not None
        assert upstream.answers[1].outcome is None

    @pytest.mark.parametrize("nonsense", [None, 42, {"id": "1"}])
    def test_nonsense_instead_of_an_answer(self, run: Run, asked: Request, nonsense: Any) -> None:
        async def returns(_: Request, __: CallNext) -> Any:
            return nonsense

        with pytest.raises(MiddlewareError, match=f"TypeError: returned {type(nonsense).__name__}, not a Response"):
            run(compose([Layer(returns)], Upstream())(asked))

    def test_nonsense_passed_down_is_the_layers_own_error(self, run: Run, asked: Request) -> None:
        async def sends(_: Request, call_next: Any) -> Any:
            return await call_next({"model": "m"})

        upstream = Upstream()
        with pytest.raises(MiddlewareError, match="call_next takes a Request, not dict"):
            run(compose([Layer(sends)], upstream)(asked))
        assert upstream.requests == []

    @pytest.mark.parametrize("error", [LLMSaverError("stop"), UpstreamError(OSError("down"))])
    @pytest.mark.parametrize("kind", [Layer, BuiltIn])
    def test_what_is_raised_on_purpose_or_by_the_transport_passes_untouched(
        self, run: Run, asked: Request, kind: type[Layer], error: LLMSaverError
    ) -> None:
        with pytest.raises(LLMSaverError) as caught:
            run(compose([kind(pass_on), kind(pass_on)], Upstream(error=error))(asked))
        assert caught.value is error
        assert acts_of(asked) == []

    def test_one_report_is_enough(self, run: Run, asked: Request) -> None:
        with pytest.raises(MiddlewareError) as caught:
            run(compose([Layer(pass_on, "outer"), Layer(raise_before, "inner")], Upstream())(asked))
        assert caught.value.layer == "inner"
        assert len(acts_of(asked)) == 1

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
    def test_a_call_that_is_stopped_is_nobodys_bug(self, asked: Request, error: BaseException) -> None:
        with pytest.raises(type(error)):
            drive(compose([BuiltIn(pass_on)], Upstream(error=error))(asked))  # type: ignore[arg-type]  # a coroutine
        assert acts_of(asked) == []


class TestSuspending:
    def test_before_the_call_it_is_reported(self, asked: Request) -> None:
        upstream = Upstream()
        with pytest.raises(MiddlewareError, match=r"layer 'mine' failed: Suspended: .*request\.runtime only"):
            drive(compose([Layer(wait_before)], upstream)(asked))  # type: ignore[arg-type]  # a coroutine
        assert upstream.requests == []

    def test_a_built_in_layer_that_does_is_skipped(self, asked: Request) -> None:
        upstream = Upstream()
        answer: Response = drive(compose([BuiltIn(wait_before), BuiltIn(wait_before)], upstream)(asked))  # type: ignore[arg-type]  # a coroutine
        assert answer is upstream.answers[0]
        assert [action for _, action, _ in acts_of(asked)] == ["failed", "failed"]

    def test_after_it_the_paid_answer_is_kept_however_many_layers_wait(self, asked: Request) -> None:
        upstream = Upstream()
        layers = [Layer(wait_after, name) for name in "abc"]
        answer: Response = drive(compose([*layers], upstream)(asked))  # type: ignore[arg-type]  # a coroutine
        assert answer is upstream.answers[0]
        assert [(name, action) for name, action, _ in acts_of(asked)] == [(n, "failed") for n in "cba"]

    @pytest.mark.parametrize("waits", [wait_before, wait_after])
    async def test_under_asyncio_a_layer_may_wait(self, asked: Request, waits: Any) -> None:
        upstream = Upstream()
        assert await compose([Layer(waits)], upstream)(asked) is upstream.answers[0]
        assert acts_of(asked) == []


class TestAnswersNobodyWants:
    """A stream that no caller will read must give its connection back."""

    async def _twice(self, request: Request, call_next: CallNext) -> Response:
        first, second = await call_next(request), await call_next(request)
        await first.__anext__()
        return second

    def test_the_one_not_chosen_is_closed(self, run: Run, asked: Request) -> None:
        upstream = Upstream(streamed=True)

        async def call() -> bytes:
            answer = await compose([Layer(self._twice)], upstream)(asked)
            assert upstream.closed == 1
            return await answer.read()

        assert run(call()) == b"paid"
        assert upstream.answers[0].outcome is not None

    def test_the_one_a_layer_drops_on_purpose_is_closed(self, run: Run, asked: Request) -> None:
        async def refuses(request: Request, call_next: CallNext) -> Response:
            await (await call_next(request)).__anext__()
            raise LLMSaverError("no")

        upstream = Upstream(streamed=True)
        with pytest.raises(LLMSaverError, match="no"):
            run(compose([Layer(refuses)], upstream)(asked))
        assert upstream.closed == 1

    def test_the_one_replaced_is_closed(self, run: Run, asked: Request) -> None:
        async def replaces(request: Request, call_next: CallNext) -> Response:
            await (await call_next(request)).__anext__()
            return Response.of({})

        upstream = Upstream(streamed=True)
        run(compose([Layer(replaces)], upstream)(asked))
        assert upstream.closed == 1

    def test_a_close_that_fails_costs_nobody_the_chosen_one(self, run: Run, asked: Request) -> None:
        class Stuck:
            def __aiter__(self) -> "Stuck":
                return self

            async def __anext__(self) -> bytes:
                raise StopAsyncIteration

            async def aclose(self) -> None:
                raise OSError("stuck")

        async def upstream(_: Request) -> Response:
            return Response(200, body=Stuck())

        async def replaces(request: Request, call_next: CallNext) -> Response:
            await call_next(request)
            return Response.of({})

        answer = run(compose([Layer(replaces)], upstream)(asked))
        assert answer.content == b"{}"

    def test_one_that_is_wrapped_stays_open(self, run: Run, asked: Request) -> None:
        async def wraps(request: Request, call_next: CallNext) -> Response:
            answer = await call_next(request)

            async def louder() -> AsyncGenerator[bytes, None]:
                async for chunk in answer:
                    yield chunk.upper()

            return Response(200, body=louder())

        async def call() -> bytes:
            answer = await compose([Layer(wraps)], Upstream(streamed=True))(asked)
            return await answer.read()

        assert run(call()) == b"PAID"
        assert acts_of(asked) == [("mine", "replaced", "the answer")]
