"""The chat dialect as the OpenAI SDK reads it, and against recorded answers of the vendor."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI, LengthFinishReasonError, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from pydantic import BaseModel

from llmsaver.testing import Answer, FakeProvider, ToolCall

ASK: Any = [{"role": "user", "content": "What's the weather like in SF?"}]
CALLS = (ToolCall("get_weather", {"city": "Edinburgh", "country": "UK"}), ToolCall("get_price", '{"ticker": "AAP'))
TOOLS: Any = [
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
]

# openai-python 3.52.0, tests/lib/chat/test_completions.py, test_parse_nothing: the recorded body.
RECORDED = {
    "id": "chatcmpl-ABfvaueLEMLNYbT8YzpJxsmiQ6HSY",
    "object": "chat.completion",
    "created": 1727346142,
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "I'm unable to.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 14,
        "completion_tokens": 37,
        "total_tokens": 51,
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
    "system_fingerprint": "fp_b40fb1c6fb",
}
# The same repository's recording 83b060bae42e (test_completions_streaming.py, test_content_logprobs_events).
RECORDED_STREAM: list[Any] = [
    {
        "index": 0,
        "delta": {"role": "assistant", "content": "", "refusal": None},
        "logprobs": {"content": [], "refusal": None},
    },
    {
        "index": 0,
        "delta": {"content": "Foo"},
        "logprobs": {
            "content": [{"token": "Foo", "logprob": -0.0025094282, "bytes": [70, 111, 111], "top_logprobs": []}],
            "refusal": None,
        },
    },
    {
        "index": 0,
        "delta": {"content": "!"},
        "logprobs": {
            "content": [{"token": "!", "logprob": -0.26638845, "bytes": [33], "top_logprobs": []}],
            "refusal": None,
        },
    },
    {"index": 0, "delta": {}, "logprobs": None},
]
# Recording f82268f2fefd (test_parse_multiple_tools): the deltas around the argument fragments.
RECORDED_TOOL_DELTAS: list[Any] = [
    {"role": "assistant", "content": None},
    {
        "tool_calls": [
            {"index": 0, "id": "call_x", "type": "function", "function": {"name": "GetWeatherArgs", "arguments": ""}}
        ]
    },
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]},
]


def keys(value: Any) -> Any:
    """Reduce JSON to its names."""
    if isinstance(value, dict):
        return {name: keys(inner) for name, inner in value.items()}
    return [keys(inner) for inner in value[:1]] if isinstance(value, list) else None


def test_a_whole_answer_has_the_recorded_shape(wire: Any) -> None:
    body = wire(FakeProvider(), "chat", {"model": "gpt-4o", "messages": ASK}).json()
    ChatCompletion.model_validate(body)
    recorded, made = keys(RECORDED), keys(body)
    # Newer than the recording, from the SDK's types: tier, annotations, and more details of usage.
    assert made.pop("service_tier", "missing") is None
    assert made["choices"][0]["message"].pop("annotations") == []
    del made["usage"]["prompt_tokens_details"]
    made["usage"]["completion_tokens_details"] = {"reasoning_tokens": None}
    assert made == recorded


def test_a_stream_with_logprobs_has_the_recorded_choices(wire: Any, sse: Any) -> None:
    fake = FakeProvider(Answer("Foo!", logprobs=(-0.0025094282, -0.26638845)))
    body = {
        "model": "gpt-4o",
        "messages": ASK,
        "stream": True,
        "logprobs": True,
        "stream_options": {"include_usage": True},
    }
    response = wire(fake, "chat", body)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-request-id"].startswith("req_")
    events = sse(response.content)
    assert {name for name, _ in events} == {None}
    assert events[-1][1] == "[DONE]"
    chunks = [data for _, data in events[:-1]]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    assert [{**chunk["choices"][0], "finish_reason": None} for chunk in chunks[:-1]] == [
        {**choice, "finish_reason": None} for choice in RECORDED_STREAM
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, None, None, "stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert all("obfuscation" in chunk for chunk in chunks)


def test_streamed_tool_calls_have_the_recorded_deltas(wire: Any, sse: Any) -> None:
    body = {"model": "gpt-4o", "messages": ASK, "stream": True, "stream_options": {"include_obfuscation": False}}
    events = sse(wire(FakeProvider(Answer(tool_calls=CALLS)), "chat", body).content)
    chunks = [data for _, data in events[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [keys(delta) for delta in deltas[:3]] == [keys(delta) for delta in RECORDED_TOOL_DELTAS]
    assert deltas[0] == RECORDED_TOOL_DELTAS[0]
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls"}
    assert not any("obfuscation" in chunk or "usage" in chunk for chunk in chunks)


def test_the_sdk_reads_a_whole_answer(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider(answer="hello")
    done = openai_of(fake).chat.completions.create(model="gpt-4o", messages=ASK, service_tier="fast", max_tokens=20)
    assert done.choices[0].message.content == "hello"
    assert done.service_tier == "priority"
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert (fake.billed[0].input_tokens, fake.billed[0].output_tokens) == (done.usage.prompt_tokens, 1)
    assert fake.requests[0].json["messages"] == ASK


def test_the_default_repeats_the_last_user_text(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider())
    parts: Any = [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]
    assert client.chat.completions.create(model="m", messages=parts).choices[0].message.content == "Echo: b"
    system: Any = [{"role": "system", "content": "only"}]
    assert client.chat.completions.create(model="m", messages=system).choices[0].message.content == "Echo: "


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls(openai_of: Callable[..., OpenAI], stream: bool) -> None:
    client = openai_of(FakeProvider(Answer("Let me see.", tool_calls=CALLS)))
    message: ChatCompletionMessage
    if stream:
        with client.chat.completions.stream(model="gpt-4o", messages=ASK) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(model="gpt-4o", messages=ASK).choices[0].message
    assert message.content == "Let me see."
    assert message.tool_calls is not None
    assert [call.function.arguments for call in message.tool_calls if call.type == "function"] == [
        '{"city":"Edinburgh","country":"UK"}',
        '{"ticker": "AAP',
    ]
    assert len({call.id for call in message.tool_calls}) == 2


def test_several_choices(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider(Answer(("one", "two words"))))
    done = client.chat.completions.create(model="gpt-4o", messages=ASK, n=3)
    assert [choice.message.content for choice in done.choices] == ["one", "two words", "one"]
    with client.chat.completions.stream(
        model="gpt-4o", messages=ASK, n=2, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert [choice.message.content for choice in final.choices] == ["one", "two words"]
    assert final.usage is not None
    assert final.usage.completion_tokens == 3


def test_logprobs_with_alternatives(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider(Answer("Foo bar", logprobs=(-0.5,))))
    choice = client.chat.completions.create(model="m", messages=ASK, logprobs=True, top_logprobs=2).choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert [entry.token for entry in choice.logprobs.content] == ["Foo", " bar"]
    assert choice.logprobs.content[0].logprob == -0.5
    assert [top.logprob for top in choice.logprobs.content[0].top_logprobs] == [-0.5, -1.5]
    assert client.chat.completions.create(model="m", messages=ASK).choices[0].logprobs is None


@pytest.mark.parametrize(("given", "asked"), [(True, False), (False, True)])
def test_a_provider_may_ignore_what_was_asked_about_logprobs(
    openai_of: Callable[..., OpenAI], given: bool, asked: bool
) -> None:
    client = openai_of(FakeProvider(Answer("Foo", logprobs=given)))
    choice = client.chat.completions.create(model="m", messages=ASK, logprobs=asked).choices[0]
    assert (choice.logprobs is not None) is given


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal(openai_of: Callable[..., OpenAI], stream: bool) -> None:
    client = openai_of(FakeProvider(Answer(refusal="I'm sorry, I can't.", logprobs=True)))
    if stream:
        with client.chat.completions.stream(model="m", messages=ASK, logprobs=True) as events:
            choice: Any = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(model="m", messages=ASK, logprobs=True).choices[0]
    assert choice.message.refusal == "I'm sorry, I can't."
    assert choice.message.content is None
    assert choice.finish_reason == "stop"
    assert choice.logprobs.refusal[0].token == "I"


class City(BaseModel):
    name: str
    population: int
    tags: list[str]


def test_parse_works_without_a_script(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider())
    parsed = client.chat.completions.parse(model="m", messages=ASK, response_format=City).choices[0].message.parsed
    assert parsed == City(name="text", population=1, tags=["text"])
    with client.chat.completions.stream(model="m", messages=ASK, response_format=City) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed
    loose = client.chat.completions.create(model="m", messages=ASK, response_format={"type": "json_object"})
    assert json.loads(loose.choices[0].message.content or "") is None


def test_the_token_limit_cuts_the_text(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider(Answer("one two three four", reasoning="hm hm"))
    client = openai_of(fake)
    done = client.chat.completions.create(model="m", messages=ASK, max_completion_tokens=4)
    assert (done.choices[0].message.content, done.choices[0].finish_reason) == ("one two", "length")
    assert done.usage is not None
    assert done.usage.completion_tokens_details is not None
    assert done.usage.completion_tokens_details.reasoning_tokens == 2
    assert done.usage.completion_tokens == 4
    with pytest.raises(LengthFinishReasonError):
        client.chat.completions.parse(model="m", messages=ASK, response_format=City, max_tokens=1)


def test_a_limit_drops_tool_calls_it_cannot_hold(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider(Answer("ok", tool_calls=CALLS)))
    done = client.chat.completions.create(model="m", messages=ASK, max_tokens=5)
    assert (done.choices[0].message.tool_calls, done.choices[0].finish_reason) == (None, "length")
    whole = client.chat.completions.create(model="m", messages=ASK, max_tokens=500)
    assert whole.choices[0].finish_reason == "tool_calls"


def test_finish_and_extra_are_sent_as_scripted(openai_of: Callable[..., OpenAI]) -> None:
    answer = Answer("a b c", finish="content_filter", extra={"service_tier": "flex", "model": "gpt-4o-2024-08-06"})
    fake = FakeProvider(answer)
    client = openai_of(fake)
    done = client.chat.completions.create(model="gpt-4o", messages=ASK, max_tokens=1)
    assert (done.choices[0].finish_reason, done.service_tier, done.model) == (
        "content_filter",
        "flex",
        "gpt-4o-2024-08-06",
    )
    assert {chunk.model for chunk in client.chat.completions.create(model="x", messages=ASK, stream=True)} == {
        done.model
    }
    assert fake.billed[0].model == "gpt-4o-2024-08-06"


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "get_weather"}},
        {"type": "function", "function": {"name": "x"}},
    ],
)
def test_a_forced_tool_is_called(openai_of: Callable[..., OpenAI], choice: Any) -> None:
    done = openai_of(FakeProvider()).chat.completions.create(model="m", messages=ASK, tools=TOOLS, tool_choice=choice)
    known = choice == "required" or choice["function"]["name"] == "get_weather"
    assert done.choices[0].finish_reason == ("tool_calls" if known else "stop")


async def test_the_async_sdk(async_openai_of: Callable[..., AsyncOpenAI]) -> None:
    client = async_openai_of(FakeProvider(Answer("hello there", tool_calls=CALLS), chunking="byte"))
    done = await client.chat.completions.create(model="m", messages=ASK)
    assert done.choices[0].message.content == "hello there"
    async with client.chat.completions.stream(model="m", messages=ASK) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "hello there"
    assert len(final.choices[0].message.tool_calls or []) == 2


def test_a_deployment_in_the_path_is_enough() -> None:
    fake = FakeProvider()
    reply = fake.receive(
        "POST",
        "https://x.openai.azure.com/openai/deployments/gpt4/chat/completions?api-version=2024-10-21",
        {"Api-Key": "k"},
        json.dumps({"messages": ASK}).encode(),
    )
    assert reply.status == 200
    assert json.loads(b"".join(reply.chunks()))["model"] == "azure-deployment"
