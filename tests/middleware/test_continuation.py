"""Answers that were cut off, gone on with: what the caller sees, what it cost, and what happens where it fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import llmsaver
from llmsaver import Saver
from llmsaver.errors import ConfigurationError
from llmsaver.middleware.continuation import Continuation
from llmsaver.testing import Answer, FakeProvider, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver import CallNext, Request, Response
    from llmsaver.testing import Received

LONG = "The quick brown fox jumps over the lazy dog and then it goes home to sleep until the next morning comes."
MOST = 6


def going_on(request: Received) -> Answer:
    """Say the long text, as a model does that repeats the anchor when it is asked to."""
    body: Any = request.json
    turns = body.get("messages") or body["input"]
    said = [turn["content"] for turn in turns if isinstance(turn, dict) and turn["role"] == "assistant"]
    if not said:
        return Answer(LONG)
    start = len(said[-1])
    asking = turns[-1]["role"] == "user"
    assert LONG.startswith(said[-1].strip())
    return Answer(LONG[start - 9 :] if asking else LONG[start:])


@pytest.fixture
def long_shop(shop: Any) -> Any:
    """Return a shop whose provider goes on with what it said, and whose calls are gone on with."""
    shop.fake = FakeProvider(going_on)
    shop.saver(stack=[Continuation(max_rounds=9)])
    return shop


def collect(shop: Any, way: Any, arguments: dict[str, Any]) -> tuple[str, str | None, Any, list[Any]]:
    """Return text, finish, usage and events of a call as the SDK gives them."""
    if way.asynchronous:

        async def go() -> tuple[Any, list[Any]]:
            async with shop.client(way) as client:
                create = shop.resource(way, client).create
                if not way.stream:
                    return await create(**arguments), []
                return None, [event async for event in await create(**arguments, stream=True)]

        whole, events = asyncio.run(go())
    else:
        with shop.client(way) as client:
            create = shop.resource(way, client).create
            whole, events = (None, list(create(**arguments, stream=True))) if way.stream else (create(**arguments), [])
    return (*READ[way.dialect](whole, events), events)


def read_chat(whole: Any, events: list[Any]) -> tuple[str, Any, Any]:
    if whole is not None:
        return whole.choices[0].message.content, whole.choices[0].finish_reason, whole.usage
    choices = [event.choices[0] for event in events if event.choices]
    assert len({event.id for event in events}) == 1
    reasons = [choice.finish_reason for choice in choices if choice.finish_reason]
    assert len(reasons) == 1
    usage = [event.usage for event in events if event.usage]
    return "".join(choice.delta.content or "" for choice in choices), reasons[0], usage[-1] if usage else None


def read_responses(whole: Any, events: list[Any]) -> tuple[str, Any, Any]:
    if whole is None:
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert len({event.type for event in events[-4:]}) == 4
        whole = events[-1].response
        deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert deltas == whole.output_text
        assert [event.text for event in events if event.type == "response.output_text.done"] == [deltas]
        assert events[-1].type == f"response.{whole.status}"
        assert [e.item.content[0].text for e in events if e.type == "response.output_item.done"] == [deltas]
    assert whole.output[-1].status == whole.status
    return whole.output_text, "stop" if whole.status == "completed" else "length", whole.usage


def read_messages(whole: Any, events: list[Any]) -> tuple[str, Any, Any]:
    if whole is not None:
        return "".join(b.text for b in whole.content if b.type == "text"), whole.stop_reason, whole.usage
    kinds = [event.type for event in events]
    for once in ("message_start", "message_delta", "message_stop", "content_block_start", "content_block_stop"):
        assert kinds.count(once) == 1
    texts = [event.delta.text for event in events if event.type == "content_block_delta"]
    (last,) = [event for event in events if event.type == "message_delta"]
    return "".join(texts), last.delta.stop_reason, last.usage


READ: dict[str, Callable[[Any, list[Any]], tuple[str, Any, Any]]] = {
    "chat": read_chat,
    "responses": read_responses,
    "messages": read_messages,
}
ENDED = {"stop", "end_turn"}
CUT = {"length", "max_tokens"}


def tokens(usage: Any) -> tuple[Any, Any]:
    return (
        getattr(usage, "prompt_tokens", None) or getattr(usage, "input_tokens", 0),
        getattr(usage, "completion_tokens", None) or getattr(usage, "output_tokens", 0),
    )


def test_a_cut_off_answer_is_one_answer(long_shop: Any, way: Any) -> None:
    arguments = way.arguments(most=MOST)
    if way.dialect == "chat" and way.stream:
        arguments["stream_options"] = {"include_usage": True}
    text, finish, usage, _ = collect(long_shop, way, arguments)
    assert text == LONG
    assert finish in ENDED
    bills = long_shop.fake.billed
    assert len(bills) > 3
    assert tokens(usage) == (sum(b.input_tokens for b in bills), sum(b.output_tokens for b in bills))
    entry = long_shop.first.recent(1)[0]
    assert entry.cost_nano == long_shop.billed()
    assert (entry.usage.input_tokens, entry.usage.output_tokens) == tokens(usage)
    assert entry.complete
    assert [act.action for act in entry.layers if act.name == "continuation"][-1] == "continued"
    row = long_shop.row()
    assert row["cost_nano"] == long_shop.billed()
    assert len(row["attempts"]) == len(bills)


def test_a_whole_answer_is_left_as_it_came(long_shop: Any, way: Any) -> None:
    text, finish, _, _ = collect(long_shop, way, way.arguments(most=500))
    assert text == LONG
    assert finish in ENDED
    assert long_shop.fake.calls == 1


def test_rounds_end(shop: Any, way: Any) -> None:
    shop.fake = FakeProvider(going_on)
    shop.saver(stack=[Continuation(max_rounds=1)])
    text, finish, _, _ = collect(shop, way, way.arguments(most=MOST))
    assert LONG.startswith(text)
    assert 0 < len(text) < len(LONG)
    assert finish in CUT
    assert shop.fake.calls == 2


@pytest.mark.parametrize("fault", [Fault(500), Fault(drop="disconnect")])
def test_where_going_on_fails_the_answer_stays_cut_off(shop: Any, way: Any, fault: Fault) -> None:
    shop.saver(stack=[Continuation()])
    shop.fake.script([Answer(LONG), fault])
    text, finish, _, _ = collect(shop, way, way.arguments(most=MOST))
    assert LONG.startswith(text)
    assert text
    assert finish in CUT
    entry = shop.first.recent(1)[0]
    assert entry.complete


def test_a_stream_that_breaks_while_going_on_ends_as_cut_off(shop: Any, stream_way: Any) -> None:
    shop.saver(stack=[Continuation()])
    shop.fake.script([Answer(LONG), Fault(drop="disconnect", after=5, answer=Answer("fox jumps over the lazy dog"))])
    text, finish, _, _ = collect(shop, stream_way, stream_way.arguments(most=MOST))
    assert text.startswith(LONG[:10])
    assert finish in CUT


def test_an_error_event_while_going_on_ends_as_cut_off(shop: Any, stream_way: Any) -> None:
    shop.saver(stack=[Continuation()])
    shop.fake.script([Answer(LONG), Fault(500, after=4, answer=Answer("fox jumps over"))])
    text, finish, _, _ = collect(shop, stream_way, stream_way.arguments(most=MOST))
    assert text.startswith(LONG[:10])
    assert finish in CUT


def test_a_part_that_adds_nothing_is_the_last(shop: Any, way: Any) -> None:
    shop.saver(stack=[Continuation(max_rounds=5)])
    shop.fake.script([Answer(LONG), *[Answer("", finish="length")] * 5])
    text, finish, _, _ = collect(shop, way, way.arguments(most=MOST))
    assert LONG.startswith(text)
    assert finish in CUT
    assert shop.fake.calls == 2


def test_a_tool_call_or_json_is_never_gone_on_with(long_shop: Any, way: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    forms: dict[str, Any] = {
        "chat": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}},
        "responses": {"text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}},
        "messages": {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
    }
    tools: dict[str, Any] = {
        "chat": {"type": "function", "function": {"name": "f", "parameters": schema}},
        "responses": {"type": "function", "name": "f", "parameters": schema, "strict": False},
        "messages": {"name": "f", "input_schema": schema},
    }
    for more in (forms[way.dialect], {"tools": [tools[way.dialect]]}):
        before = long_shop.fake.calls
        collect(long_shop, way, way.arguments(most=MOST, **more))
        assert long_shop.fake.calls == before + 1


def test_reasoning_that_used_up_the_limit_is_not_gone_on_with(shop: Any, way: Any) -> None:
    shop.saver(stack=[Continuation()])
    shop.fake.answer = Answer("never said", reasoning="one two three four five six seven eight nine ten")
    shop.ask(way, create=way.arguments(most=3))
    assert shop.fake.calls == 1


def test_what_a_budget_cut_off_stays_cut_off(shop: Any, plain_way: Any) -> None:
    saver = shop.saver(stack=[Continuation()])
    shop.fake.answer = Answer("word " * 3_000)
    model, rate = ("claude-haiku-4-5", 5_000) if plain_way.dialect == "messages" else ("gpt-4o-mini", 600)
    with llmsaver.budget("scarce", usd=f"{500 * rate / 1e9:.9f}"):
        entry = shop.ask(plain_way, saver, create={**plain_way.arguments(most=4_000), "model": model})
    assert entry.clamped_to is not None
    assert shop.fake.calls == 1


def test_claude_goes_on_where_it_stopped_or_is_asked_to(shop: Any, way_of: Callable[..., Any]) -> None:
    shop.fake = FakeProvider(going_on)
    shop.saver(stack=[Continuation(max_rounds=1)])
    way = way_of("messages")
    for model, last in (("claude-haiku-4-5", "assistant"), ("claude-opus-4-6", "user"), ("claude-sonnet-5", "user")):
        shop.ask(way, create={**way.arguments(most=MOST), "model": model})
        assert shop.fake.requests[-1].json["messages"][-1]["role"] == last
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    shop.ask(way, create=way.arguments(most=MOST, **thinking))
    assert shop.fake.requests[-1].json["messages"][-1]["role"] == "user"


def test_a_routed_call_is_asked_for_the_rest(shop: Any, way_of: Callable[..., Any]) -> None:
    shop.fake = FakeProvider(going_on)

    async def route(request: Request, call_next: CallNext) -> Response:
        request.entry.routing = {}
        return await call_next(request)

    shop.saver(stack=[Continuation(max_rounds=1), route])
    shop.ask(way_of("messages"), create=way_of("messages").arguments(most=MOST))
    assert shop.fake.requests[-1].json["messages"][-1]["role"] == "user"


def test_the_callers_own_beginning_is_gone_on_with(shop: Any, way_of: Callable[..., Any]) -> None:
    shop.saver(stack=[Continuation(max_rounds=1)])
    way = way_of("messages")
    for content in ("Once", [{"type": "text", "text": "Once"}]):
        shop.fake.script([Answer(" upon a time there was a king"), Answer(" there was a king")])
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}]
        shop.ask(way, create={"model": "claude-haiku-4-5", "max_tokens": 4, "messages": messages})
        last = shop.fake.requests[-1].json["messages"]
        assert [turn["role"] for turn in last] == ["user", "assistant"]


def test_a_call_out_of_time_is_not_gone_on_with(shop: Any, way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.saver(stack=[Continuation()])
    shop.fake = FakeProvider(LONG)
    monkeypatch.setattr("llmsaver.middleware.continuation._stopped", lambda _: True)
    _, finish, _, _ = collect(shop, way, way.arguments(most=MOST))
    assert finish in CUT
    assert shop.fake.calls == 1


def test_a_stream_closed_early_asks_for_nothing_more(long_shop: Any, stream_way: Any) -> None:
    if stream_way.asynchronous:

        async def go() -> None:
            async with long_shop.client(stream_way) as client:
                await long_shop.aconsume(stream_way, client, stream_way.arguments(most=MOST), 2)

        asyncio.run(go())
    else:
        with long_shop.client(stream_way) as client:
            long_shop.consume(stream_way, client, stream_way.arguments(most=MOST), 2)
    assert long_shop.fake.calls == 1


def test_a_seam_that_fails_costs_nobody_the_stream(
    long_shop: Any, stream_way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmsaver.prompt.continuing_streams import SEAMS

    def broken(*_: Any) -> bytes:
        raise ValueError("a bug")

    monkeypatch.setattr(SEAMS[stream_way.dialect], "take", broken)
    _, finish, _, _ = collect(long_shop, stream_way, stream_way.arguments(most=MOST))
    assert finish in CUT
    monkeypatch.undo()
    monkeypatch.setattr(SEAMS[stream_way.dialect], "more", broken)
    _, finish, _, _ = collect(long_shop, stream_way, stream_way.arguments(most=MOST))
    assert finish in CUT


def test_a_stream_that_breaks_before_it_is_cut_off_raises_what_it_raised(shop: Any, stream_way: Any) -> None:
    shop.saver(stack=[Continuation()])
    shop.fake.script([Fault(drop="disconnect", after=4, answer=Answer(LONG))])
    with pytest.raises(Exception, match=r"(?i)peer closed|connection"):
        collect(shop, stream_way, stream_way.arguments(most=MOST))
    assert not shop.first.recent(1)[0].complete


def test_the_sdks_own_assembly_of_a_stream(long_shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("messages", stream=True)
    with long_shop.client(way) as client, client.messages.stream(**way.arguments(most=MOST)) as stream:
        whole = stream.get_final_message()
    assert (whole.content[0].text, whole.stop_reason) == (LONG, "end_turn")
    assert whole.usage.output_tokens == sum(bill.output_tokens for bill in long_shop.fake.billed)
    assert whole.usage.input_tokens == sum(bill.input_tokens for bill in long_shop.fake.billed)
    way = way_of("responses", stream=True)
    with long_shop.client(way) as client, client.responses.stream(**way.arguments(most=MOST)) as stream:
        assert stream.get_final_response().output_text == LONG
    way = way_of("chat", stream=True)
    with long_shop.client(way) as client, client.chat.completions.stream(**way.arguments(most=MOST)) as stream:
        choice = stream.get_final_completion().choices[0]
    assert (choice.message.content, choice.finish_reason) == (LONG, "stop")


def test_bytes_in_any_pieces(shop: Any, stream_way: Any) -> None:
    shop.fake = FakeProvider(going_on, chunking="byte")
    shop.saver(stack=[Continuation(max_rounds=9)])
    text, finish, _, _ = collect(shop, stream_way, stream_way.arguments(most=MOST))
    assert (text, finish in ENDED) == (LONG, True)


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigurationError, match="max_rounds"):
        Continuation(max_rounds=0)
    assert Continuation(max_rounds=2).policy == "2"
    assert Saver(mode="off", stack=[Continuation()]).layers
