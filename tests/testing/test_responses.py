"""The responses dialect as the OpenAI SDK reads it, and against recorded answers of the vendor."""

from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from llmsaver.testing import Answer, FakeProvider, ToolCall

# openai-python 3.52.0, tests/lib/responses/test_responses.py, test_output_text: the names of the recorded body.
RECORDED = """
id object created_at status background error incomplete_details instructions max_output_tokens max_tool_calls model
output parallel_tool_calls previous_response_id prompt_cache_key reasoning safety_identifier service_tier store
temperature text tool_choice tools top_logprobs top_p truncation usage user metadata
""".split()  # noqa: SIM905 - reads like the recording
RECORDED_MESSAGE = {"id", "type", "status", "content", "role"}
RECORDED_PART = {"type", "annotations", "logprobs", "text"}
RECORDED_USAGE = {
    "input_tokens": 14,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 64,
}
# The order of a recorded stream with reasoning and one call (prism-php/prism, tests/Fixtures/openai,
# stream-multi-tool-conversation-responses-reasoning-1), argument deltas folded into one.
RECORDED_ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.completed",
]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CALL = ToolCall("get_weather", {"city": "Detroit"})


def test_a_whole_answer_has_the_recorded_shape(wire: Any) -> None:
    body = wire(
        FakeProvider("hi"), "responses", {"model": "gpt-4o-mini", "input": "What's the weather like in SF?"}
    ).json()
    Response.model_validate(body)
    assert sorted(body) == sorted(RECORDED)
    assert set(body["output"][0]) == RECORDED_MESSAGE
    assert set(body["output"][0]["content"][0]) == RECORDED_PART
    assert {name: type(value) for name, value in body["usage"].items()} == {
        name: type(value) for name, value in RECORDED_USAGE.items()
    }
    assert body["usage"]["input_tokens_details"] == RECORDED_USAGE["input_tokens_details"]


def test_a_stream_has_the_recorded_order(wire: Any, sse: Any) -> None:
    fake = FakeProvider(Answer(tool_calls=(CALL,), reasoning="thinking about Detroit"))
    events = sse(wire(fake, "responses", {"model": "o3-mini", "input": "hi", "stream": True}).content)
    names = [name for name, _ in events]
    folded = [name for index, name in enumerate(names) if index == 0 or name != names[index - 1] or "delta" not in name]
    assert folded == RECORDED_ORDER
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    for name, data in events:
        assert data["type"] == name
        EVENT.validate_python(data)
    assert events[2][1]["item"]["summary"] == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer("Hello there"),
        Answer(refusal="I can't help."),
        Answer("Sure", tool_calls=(CALL, CALL)),
        Answer("Fine", reasoning="step by step"),
        Answer("cut off here", finish="length"),
        Answer("bad", finish="content_filter"),
        Answer("", finish="failed"),
    ],
)
def test_every_event_fits_the_vendors_types_and_ends_in_the_whole_answer(wire: Any, sse: Any, answer: Answer) -> None:
    request = {
        "model": "m",
        "input": [{"role": "user", "content": "x"}],
        "reasoning": {"summary": "auto", "effort": "low"},
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
    }
    fake = FakeProvider(answer)
    whole = wire(fake, "responses", request).json()
    events = sse(wire(fake, "responses", {**request, "stream": True}).content)
    for _, data in events:
        EVENT.validate_python(data)
    last = events[-1][1]
    assert last["type"] == f"response.{whole['status']}"
    volatile = {"id", "created_at", "output"}
    assert {k: v for k, v in last["response"].items() if k not in volatile} == {
        k: v for k, v in whole.items() if k not in volatile
    }


def test_the_sdk_reads_a_whole_answer(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider(Answer("hello there", reasoning="hm")))
    done = client.responses.create(model="m", input="x", reasoning={"summary": "auto"}, service_tier="flex")
    assert done.output_text == "hello there"
    assert done.service_tier == "flex"
    assert done.usage is not None
    assert done.usage.output_tokens_details.reasoning_tokens == 1
    assert done.output[0].type == "reasoning"
    assert done.output[0].summary[0].text == "hm"


def test_the_sdk_streams(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider(Answer("hello there", tool_calls=(CALL,), reasoning="first second")))
    with client.responses.stream(model="m", input="x", reasoning={"summary": "auto"}) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds.count("response.reasoning_summary_text.delta") == 2
    assert kinds.count("response.output_text.delta") == 2
    assert final.output_text == "hello there"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert kinds[-1] == "response.completed"


def test_truncation_is_an_incomplete_response(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider("one two three"))
    done = client.responses.create(model="m", input="x", max_output_tokens=2)
    assert (done.status, done.output_text) == ("incomplete", "one two")
    assert done.incomplete_details is not None
    assert done.incomplete_details.reason == "max_output_tokens"
    kinds = [event.type for event in client.responses.create(model="m", input="x", max_output_tokens=2, stream=True)]
    assert kinds[-1] == "response.incomplete"


def test_a_failed_response_has_an_error_and_no_usage(openai_of: Callable[..., OpenAI]) -> None:
    done = openai_of(FakeProvider(Answer(finish="failed"))).responses.create(model="m", input="x")
    assert (done.status, done.usage, done.output) == ("failed", None, [])
    assert done.error is not None
    assert done.error.code == "server_error"


class City(BaseModel):
    name: str


def test_parse_and_a_forced_tool_work_without_a_script(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider())
    assert client.responses.parse(model="m", input="x", text_format=City).output_parsed == City(name="text")
    tool: Any = {
        "type": "function",
        "name": "f",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}},
    }
    done = client.responses.create(model="m", input="x", tools=[tool], tool_choice={"type": "function", "name": "f"})
    assert done.output[0].type == "function_call"
    assert done.output[0].arguments == '{"n":1}'


def test_logprobs_of_a_stream(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider(Answer("Foo bar", logprobs=(-0.5, -0.25))))
    with client.responses.stream(model="m", input="x", include=["message.output_text.logprobs"]) as stream:
        deltas = [event for event in stream if event.type == "response.output_text.delta"]
    assert [delta.logprobs[0].logprob for delta in deltas] == [-0.5, -0.25]


async def test_the_async_sdk(async_openai_of: Callable[..., AsyncOpenAI]) -> None:
    client = async_openai_of(FakeProvider("hello", chunking=7, newline="\r\n", comments=True))
    assert (await client.responses.create(model="m", input="x")).output_text == "hello"
    async with client.responses.stream(model="m", input="x") as stream:
        assert (await stream.get_final_response()).output_text == "hello"
