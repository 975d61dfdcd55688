"""The messages dialect as the Anthropic SDK reads it, and against recorded streams of the vendor."""

from collections.abc import Callable
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

from llmsaver.testing import Answer, FakeProvider, ToolCall, usage_variants

ASK: Any = [{"role": "user", "content": "Say hello there!"}]
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
CALL = ToolCall("get_weather", {"location": "Paris"})

# anthropic-sdk-python 2.11.0, tests/lib/streaming/fixtures/basic_response.txt.
BASIC: list[Any] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_4QpJur2dWWDjF6C758FbBw5vm12BaVipnK",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "claude-3-opus-latest",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "!"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 6},
    },
    {"type": "message_stop"},
]
# tests/lib/streaming/fixtures: message_start of server_tool_use_response.txt, message_delta of
# message_delta_fields_response.txt.
START_USAGE: dict[str, Any] = {
    "input_tokens": 2234,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 1,
    "service_tier": "standard",
    "inference_geo": "not_available",
}
DELTA_USAGE = {
    "input_tokens": 40,
    "cache_creation_input_tokens": 12,
    "cache_read_input_tokens": 7,
    "output_tokens": 8,
    "output_tokens_details": {"thinking_tokens": 3},
    "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
}
# tests/fixtures/fable-fallback/stream-a-refusal.sse: its thinking block, and refusal_response.txt: its ending.
THINKING: list[Any] = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Simple educ"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c3lu"}},
    {"type": "content_block_stop", "index": 0},
]
REFUSAL = {
    "stop_reason": "refusal",
    "stop_sequence": None,
    "stop_details": {"type": "refusal", "category": "cyber", "explanation": "This request was refused due to policy."},
}


def stream(wire: Any, sse: Any, answer: Answer, **fields: Any) -> list[Any]:
    body = {"model": "claude-x", "max_tokens": 100, "messages": ASK, "stream": True, **fields}
    events = sse(wire(FakeProvider(answer), "messages", body).content)
    assert all(name == data["type"] for name, data in events)
    for _, data in events:
        if data["type"] != "ping":
            EVENT.validate_python(data)
    return [data for _, data in events]


def test_a_stream_is_the_recorded_one(wire: Any, sse: Any) -> None:
    made = stream(wire, sse, Answer("Hello there!"))
    assert made[1:-2] == BASIC[1:-2]
    assert made[-1] == BASIC[-1]
    assert set(made[0]["message"]) == {*BASIC[0]["message"], "stop_details"}
    assert {name: type(value) for name, value in made[0]["message"]["usage"].items()} == {
        name: type(value) for name, value in START_USAGE.items()
    }
    assert made[0]["message"]["usage"]["output_tokens"] == 1
    assert made[-2]["delta"] == {**BASIC[-2]["delta"], "stop_details": None}
    assert set(made[-2]["usage"]) == set(DELTA_USAGE) - {"output_tokens_details", "server_tool_use"}


def test_usage_of_a_stream_is_cumulative_at_the_end(wire: Any, sse: Any) -> None:
    made = stream(wire, sse, Answer("ok", usage={**START_USAGE, **DELTA_USAGE, "speed": "fast"}))
    assert made[0]["message"]["usage"] == {
        **START_USAGE,
        "input_tokens": 40,
        "cache_creation_input_tokens": 12,
        "cache_read_input_tokens": 7,
        "speed": "fast",
    }
    assert made[-2]["usage"] == DELTA_USAGE


def test_thinking_is_the_recorded_block(wire: Any, sse: Any) -> None:
    made = stream(wire, sse, Answer("Fine.", reasoning="Simple"))
    block = [event for event in made if event.get("index") == 0]
    assert block[0] == THINKING[0]
    assert [set(event["delta"]) for event in block[1:-1]] == [set(event["delta"]) for event in THINKING[1:-1]]
    assert made[-2]["usage"]["output_tokens_details"] == {"thinking_tokens": 1}


@pytest.mark.parametrize("text", [None, "Partly"])
def test_a_refusal_is_the_recorded_one(wire: Any, sse: Any, text: str | None) -> None:
    made = stream(wire, sse, Answer(text, refusal="This request was refused due to policy."))
    assert made[1] == BASIC[1]
    expected: Any = REFUSAL["stop_details"]
    assert made[-2]["delta"] == {**REFUSAL, "stop_details": {**expected, "category": None}}
    assert made[-2]["usage"]["output_tokens"] == len(text or "") // 6  # "Partly" is one token


def test_tool_use_starts_empty_as_recorded(wire: Any, sse: Any) -> None:
    # tests/lib/streaming/fixtures/tool_use_response.txt
    made = stream(wire, sse, Answer("I'll check.", tool_calls=(CALL,)))
    block = [event for event in made if event.get("index") == 1]
    assert block[0]["content_block"].keys() == {"type", "id", "name", "input"}
    assert block[0]["content_block"]["input"] == {}
    assert block[1]["delta"] == {"type": "input_json_delta", "partial_json": ""}
    assert "".join(event["delta"]["partial_json"] for event in block[1:-1]) == '{"location":"Paris"}'
    assert made[-2]["delta"]["stop_reason"] == "tool_use"


def test_the_sdk_reads_a_whole_answer(anthropic_of: Callable[..., Anthropic], wire: Any) -> None:
    answer = Answer("Sure.", tool_calls=(CALL, ToolCall("broken", '{"a": ')), reasoning="let me think")
    client = anthropic_of(FakeProvider(answer))
    message = client.messages.create(model="claude-x", max_tokens=100, messages=ASK, speed="fast", inference_geo="us")
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block.input for block in message.content if block.type == "tool_use"] == [{"location": "Paris"}, {}]
    assert message.stop_reason == "tool_use"
    assert message._request_id is not None
    assert message._request_id.startswith("req_01")
    assert (message.usage.speed, message.usage.inference_geo) == ("fast", "us")
    body = {"model": "claude-x", "max_tokens": 100, "messages": ASK}
    Message.model_validate(wire(FakeProvider(answer), "messages", body).json())


def test_the_sdk_streams(anthropic_of: Callable[..., Anthropic]) -> None:
    answer = Answer("Hello there", tool_calls=(CALL,), reasoning="hm", usage={**START_USAGE, **DELTA_USAGE})
    client = anthropic_of(FakeProvider(answer))
    with client.messages.stream(model="claude-x", max_tokens=100, messages=ASK) as events:
        kinds = {event.type for event in events}
        final = events.get_final_message()
    assert {"thinking", "signature", "text", "input_json"} <= kinds
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
    assert (final.usage.input_tokens, final.usage.output_tokens, final.usage.cache_read_input_tokens) == (40, 8, 7)
    with client.messages.stream(model="claude-x", max_tokens=100, messages=ASK) as events:
        assert "".join(events.text_stream) == "Hello there"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("length", "max_tokens"),
        ("pause_turn", "pause_turn"),
        ("stop_sequence", "stop_sequence"),
        ("model_context_window_exceeded", "model_context_window_exceeded"),
    ],
)
def test_stop_reasons(anthropic_of: Callable[..., Anthropic], finish: str, reason: str) -> None:
    client = anthropic_of(FakeProvider(Answer("x", finish=finish)))
    message = client.messages.create(model="m", max_tokens=9, messages=ASK, stop_sequences=["END"])
    assert message.stop_reason == reason
    assert message.stop_sequence == ("END" if reason == "stop_sequence" else None)


def test_max_tokens_cuts_the_text(anthropic_of: Callable[..., Anthropic]) -> None:
    message = anthropic_of(FakeProvider("one two three")).messages.create(model="m", max_tokens=2, messages=ASK)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 2)


class City(BaseModel):
    name: str


def test_parse_and_a_forced_tool_work_without_a_script(anthropic_of: Callable[..., Anthropic]) -> None:
    client = anthropic_of(FakeProvider())
    parsed = client.messages.parse(model="m", max_tokens=99, messages=ASK, output_format=City)
    assert parsed.parsed_output == City(name="text")
    tool: Any = {"name": "f", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    message = client.messages.create(model="m", max_tokens=99, messages=ASK, tools=[tool], tool_choice={"type": "any"})
    assert message.content[0].type == "tool_use"
    assert message.content[0].input == {"n": 1}


def test_counting_tokens_agrees_with_the_answer(anthropic_of: Callable[..., Anthropic]) -> None:
    fake = FakeProvider()
    client = anthropic_of(fake)
    counted = client.messages.count_tokens(model="m", messages=ASK, system="Be brief.")
    message = client.messages.create(model="m", max_tokens=9, messages=ASK, system="Be brief.")
    assert counted.input_tokens == message.usage.input_tokens
    assert [bill.dialect for bill in fake.billed] == ["messages"]


def test_beta_usage_reaches_the_sdk(anthropic_of: Callable[..., Anthropic]) -> None:
    client = anthropic_of(FakeProvider(usage_variants("messages")["compaction"]))
    message = client.beta.messages.create(model="m", max_tokens=9, messages=ASK, betas=["compact-2026-01-12"])
    assert message.usage.iterations is not None
    assert [turn.type for turn in message.usage.iterations] == ["compaction", "message"]


async def test_the_async_sdk(async_anthropic_of: Callable[..., AsyncAnthropic]) -> None:
    client = async_anthropic_of(FakeProvider("hello", chunking=3, newline="\r\n", comments=True, gzip=True))
    message = await client.messages.create(model="m", max_tokens=9, messages=ASK)
    assert message.content[0].type == "text"
    async with client.messages.stream(model="m", max_tokens=9, messages=ASK) as events:
        assert "".join([text async for text in events.text_stream]) == "hello"


def test_a_stream_left_while_thinking_is_charged_for_the_thoughts_so_far(
    anthropic_of: Callable[..., Anthropic],
) -> None:
    fake = FakeProvider(Answer("said", reasoning="one two three"))
    events = anthropic_of(fake).messages.create(model="m", max_tokens=9, messages=ASK, stream=True)
    for event in events:
        if event.type == "content_block_delta":
            break
    events.close()
    assert (fake.billed[0].visible, fake.billed[0].output_tokens) == (4, 1)


def test_missing_usage_is_missing_in_streams_too(wire: Any, sse: Any) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": ASK, "stream": True}
    events = sse(wire(FakeProvider(Answer("x", usage="missing")), "messages", body).content)
    assert "usage" not in events[0][1]["message"]
    assert "usage" not in events[-2][1]


def test_a_call_alone_has_no_text_block(wire: Any) -> None:
    body = {"model": "m", "max_tokens": 99, "messages": ASK}
    made = wire(FakeProvider(Answer(tool_calls=(CALL,))), "messages", body).json()
    assert [block["type"] for block in made["content"]] == ["tool_use"]
