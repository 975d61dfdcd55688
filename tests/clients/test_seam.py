"""What a layer may do to a call, in each of the twelve ways to make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
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


def test_a_layer_that_passes_on_changes_nothing(way: Any, caller: Any, fake: FakeProvider) -> None:
    bare = caller.ask(way, fake)
    caller.saver = Saver(stack=[passes])
    told = caller.ask(way, fake)

    assert told.text == bare.text == "one two three four five six"
    assert told.headers["x-llmsaver-layers"] == ""
    assert told.headers["x-llmsaver-tier"] == "api"
    assert fake.requests[0].body == fake.requests[1].body
    bill = fake.billed[-1]
    entry = caller.saver.entry(told.headers["x-llmsaver-entry"])
    assert entry.complete
    assert entry.usage is not None
    assert (entry.usage.input_tokens, entry.usage.output_tokens) == (bill.input_tokens, bill.output_tokens)
    assert (entry.dialect, entry.model, entry.stream) == (way.dialect, way.model, way.stream)


def test_a_layer_changes_the_request(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def rewrites(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(body=way.body_with(request.body, "changed"), model="another"))

    caller.saver = Saver(stack=[rewrites])
    told = caller.ask(way, fake)

    assert told.text == "one two three four five six"
    assert way.prompt_of(fake.requests[-1].json) == "changed"
    assert told.headers["x-llmsaver-model"] == fake.requests[-1].json["model"] == "another"
    assert told.headers["x-llmsaver-layers"] == "rewrites=changed"


def test_a_layer_answers_by_itself(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def answers(request: Request, call_next: CallNext) -> Response:  # noqa: ARG001 - nothing is asked further
        return Response.of(way.answer("from the layer, ünïcode"))

    caller.saver = Saver(stack=[answers])
    told = caller.ask(way, fake)

    assert told.text == "from the layer, ünïcode"
    assert fake.calls == 0
    assert told.headers["x-llmsaver-layers"] == "answers=answered"
    if not (way.dialect == "chat" and way.stream):  # a chat stream says its usage where asked to
        assert told.usage == (5, 7)


def test_a_layer_reads_and_judges(way: Any, caller: Any, fake: FakeProvider) -> None:
    judged = []

    async def judges(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        raw = await response.read()
        judged.append((raw, await response.json(), await response.read() is raw, [part async for part in response]))
        return response

    caller.saver = Saver(stack=[judges])
    told = caller.ask(way, fake)

    raw, message, again, parts = judged[0]
    assert told.text == "one two three four five six"
    assert "one two three" in str(message)
    assert again
    assert parts == [raw]
    assert told.usage is None or told.usage[1] == fake.billed[-1].output_tokens


def test_a_layer_replaces_the_answer(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def replaces(request: Request, call_next: CallNext) -> Response:
        await call_next(request)
        return Response.of(way.answer("instead"))

    caller.saver = Saver(stack=[replaces])
    told = caller.ask(way, fake)

    assert told.text == "instead"
    assert told.headers["x-llmsaver-layers"] == "replaces=replaced"


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
    async def breaks(request: Request, call_next: CallNext) -> Response:
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
    class Blocked(LLMSaverError):
        pass

    async def blocks(request: Request, call_next: CallNext) -> Response:
        raise Blocked("not this one")

    caller.saver = Saver(stack=[passes, blocks])
    with pytest.raises(Blocked, match="not this one") as raised:
        caller.ask(way, fake, max_retries=3)
    assert isinstance(raised.value, base_error(way))
    assert fake.calls == 0
    assert caller.saver.last is None or way.asynchronous or caller.saver.last.error == "Blocked: not this one"


@pytest.mark.parametrize("nonsense", [None, "text", {"choices": []}, 5])
def test_a_layer_that_returns_nonsense(way: Any, caller: Any, fake: FakeProvider, nonsense: Any) -> None:
    async def before(request: Request, call_next: CallNext) -> Any:
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
def test_a_layer_that_answers_with_no_answer_of_the_dialect(way: Any, caller: Any, body: bytes) -> None:
    async def answers(request: Request, call_next: CallNext) -> Response:
        return Response(200, {"content-type": "application/json"}, content=body)

    if not way.stream:
        pytest.skip("the SDK reads it as it would from a server")
    caller.saver = Saver(stack=[answers])
    with pytest.raises(MiddlewareError, match="stream") as raised:
        caller.ask(way, None or _unused(), max_retries=3)
    assert isinstance(raised.value, base_error(way))


def _unused() -> Any:
    import httpx2

    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(f"{request.url} was asked")

    return httpx2.MockTransport(refuse)


def test_a_layer_asks_twice(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def twice(request: Request, call_next: CallNext) -> Response:
        await call_next(request)
        return await call_next(request)

    fake.script(["first", "second"])
    caller.saver = Saver(stack=[twice])
    told = caller.ask(way, fake)
    assert told.text == "second"
    assert fake.calls == 2
    entry = caller.saver.entry(told.headers["x-llmsaver-entry"])
    assert [attempt.status for attempt in entry.attempts] == [200, 200]


def test_a_layer_may_turn_streaming_off_and_on_beneath_a_caller(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def turns(request: Request, call_next: CallNext) -> Response:
        body = {key: value for key, value in request.body.items() if key != "stream"}
        return await call_next(request.replace(body=body if way.stream else {**body, "stream": True}))

    caller.saver = Saver(stack=[turns])
    told = caller.ask(way, fake)
    assert told.text == "one two three four five six"
    assert fake.requests[-1].stream is not way.stream


def test_layers_are_outermost_first(way: Any, caller: Any, fake: FakeProvider) -> None:
    order = []

    def layer(name: str) -> Any:
        async def notes(request: Request, call_next: CallNext) -> Response:
            order.append(f"{name} down")
            response = await call_next(request)
            order.append(f"{name} up")
            return response

        notes.__name__ = name
        return notes

    caller.saver = Saver(stack=[layer("a"), ..., layer("b")])
    caller.ask(way, fake)
    assert order == ["a down", "b down", "b up", "a up"]


def test_a_request_is_frozen_and_holds_no_key(way: Any, caller: Any, fake: FakeProvider) -> None:
    seen: list[Request] = []

    async def looks(request: Request, call_next: CallNext) -> Response:
        seen.append(request)
        with pytest.raises(AttributeError):
            request.dialect = "other"  # type: ignore[misc]  # what a layer must not do
        return await call_next(request)

    caller.saver = Saver(stack=[looks])
    caller.ask(way, fake, api_key="sk-very-secret", default_headers={"x-extra": "also-secret"})
    caller.ask(way, fake, api_key="sk-other")
    request = seen[0]
    assert "secret" not in repr(request) + repr(request.entry) + str(request.entry.as_dict())
    assert request.account
    assert request.account != seen[1].account
    assert (request.dialect, request.model, request.stream) == (way.dialect, way.model, way.stream)
    assert request.attempt == 0
