"""What a layer may do to a call, in each of the twelve ways to make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest

from llmsaver import Request, Response, Saver, UpstreamError
from llmsaver.testing import Fault

if TYPE_CHECKING:
    from llmsaver import CallNext
    from llmsaver.testing import FakeProvider


async def passes(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


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
    async def answers(_request: Request, _call_next: CallNext) -> Response:
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


def test_a_layer_may_keep_answers_for_later_calls(way: Any, caller: Any, fake: FakeProvider) -> None:
    """The obvious cache of an application's own: whole `Response` objects in a dict."""
    kept: dict[str, Response] = {}

    async def remembers(request: Request, call_next: CallNext) -> Response:
        key = str(way.prompt_of(request.body))
        if key not in kept:
            kept[key] = await call_next(request)
            await kept[key].read()
        return kept[key]

    caller.saver = Saver(stack=[remembers])
    told = [caller.ask(way, fake, annotate=annotate) for annotate in (False, True, False)]
    assert [each.text for each in told] == ["one two three four five six"] * 3
    assert fake.calls == 1
    assert len({each.headers["x-llmsaver-entry"] for each in told}) == 3
    for each in told:
        assert len(each.headers.get_list("x-llmsaver-entry")) == 1
    assert told[2].headers["x-llmsaver-layers"] == "remembers=answered"
    other = type(way)(way.dialect, way.asynchronous, not way.stream)
    assert caller.ask(other, fake).text == "one two three four five six"
    assert fake.calls == 1


def test_a_layer_tries_again_by_status(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def tries(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        if response.status == 429:
            await request.runtime.sleep(response.retry_after or 0)
            response = await call_next(request)
        return response

    fake.script([Fault(429, retry_after=0.001)])
    caller.saver = Saver(stack=[tries])
    told = caller.ask(way, fake)
    assert told.text == "one two three four five six"
    assert [a.status for a in caller.saver.entry(told.headers["x-llmsaver-entry"]).attempts] == [429, 200]


def test_a_layer_asks_side_by_side(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def hedges(request: Request, call_next: CallNext) -> Response:
        first, second = await request.runtime.gather(call_next(request), call_next(request))
        return first if "x" in str(request.body) else second

    caller.saver = Saver(stack=[hedges])
    told = caller.ask(way, fake)
    assert told.text == "one two three four five six"
    assert fake.calls == 2
    assert told.headers["x-llmsaver-layers"] == ""


def test_a_layer_catches_a_failed_transport(way: Any, caller: Any, fake: FakeProvider) -> None:
    failures = []

    async def falls_back(request: Request, call_next: CallNext) -> Response:
        try:
            return await call_next(request)
        except UpstreamError as error:
            failures.append(type(error.original).__name__)
            return await call_next(request.replace(model="fallback"))

    fake.script([Fault(drop="connect")])
    caller.saver = Saver(stack=[falls_back])
    told = caller.ask(way, fake)
    assert told.text == "one two three four five six"
    assert told.headers["x-llmsaver-model"] == "fallback"
    assert failures == ["ConnectError"]


def test_a_layer_answers_with_an_error(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def refuses(_request: Request, _call_next: CallNext) -> Response:
        return Response.of({"error": {"message": "not today", "type": "x"}}, status=403)

    caller.saver = Saver(stack=[refuses])
    error: Any = anthropic.PermissionDeniedError if way.dialect == "messages" else openai.PermissionDeniedError
    with pytest.raises(error, match="not today") as raised:
        caller.ask(way, fake, annotate=True)
    assert raised.value.response.headers["x-llmsaver-layers"] == "refuses=answered"
    assert fake.calls == 0


def test_a_layers_answer_has_a_measured_time(way_of: Any, caller: Any, fake: FakeProvider) -> None:
    async def answers(_request: Request, _call_next: CallNext) -> Response:
        return Response.of(way.answer("x"))

    way = way_of("chat", False, False)
    caller.saver = Saver(stack=[answers])
    with caller.client(way, fake) as client:
        raw = caller.resource(way, client).with_raw_response.create(**way.arguments())
        assert raw.elapsed.total_seconds() == 0


def test_a_users_hook_may_read_the_answer_first(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def aread(response: Any) -> None:
        await response.aread()

    hooks: Any = {"response": [aread if way.asynchronous else lambda response: response.read()]}
    transport: Any = fake.async_transport() if way.asynchronous else fake.transport()
    kind: Any = httpx2.AsyncClient if way.asynchronous else httpx2.Client
    caller.saver = Saver()
    for annotate in (False, True):
        told = caller.ask(way, kind(transport=transport, event_hooks=hooks), annotate=annotate)
        assert told.text == "one two three four five six"
        assert bool(told.note) is annotate
        assert caller.saver.entry(told.headers["x-llmsaver-entry"]).usage is not None
