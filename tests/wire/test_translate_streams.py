"""Streams: what the fake vendors stream, told to the other vendor's SDK, however the network cut it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.testing import Answer, FakeProvider, Fault, ToolCall
from llmsaver.wire import DIALECTS
from llmsaver.wire.sse import Framer
from llmsaver.wire.translate import answer_to, stream_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OTHER = {"chat": "messages", "messages": "chat"}
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
LOOK, NOW = ToolCall("look", {"city": "Köln", "days": [1, 2]}), ToolCall("now")
ANSWERS = {
    "text": Answer("Guten Tag, wie geht's? [DONE] \u2028 data: x"),
    "empty": Answer(""),
    "calls": Answer(tool_calls=(LOOK, NOW, LOOK)),
    "text and calls": Answer("Let me look.", tool_calls=(LOOK, NOW)),
    "forced call": Answer(tool_calls=(LOOK,), finish="stop"),
    "cut": Answer("one two three", finish="length"),
    "filtered": Answer("one", finish="content_filter"),
}
CHAT_ANSWERS = {**ANSWERS, "refused": Answer(refusal="I can't help with that.")}
MESSAGES_ANSWERS = {
    **ANSWERS,
    "thought": Answer("Well.", reasoning="Let me see."),
    "refused": Answer("", refusal="It may harm."),
    "stop sequence": Answer("one", finish="stop_sequence"),
    "paused": Answer("one", finish="pause_turn"),
}
CASES = [
    pytest.param(source, answer, id=f"{source} {name}")
    for source, answers in (("chat", CHAT_ANSWERS), ("messages", MESSAGES_ANSWERS))
    for name, answer in answers.items()
]


def provided(source: str, answer: Answer | Fault, **more: Any) -> bytes:
    """Return what a vendor of dialect ``source`` answers."""
    paths = {"chat": "https://x/v1/chat/completions", "messages": "https://x/v1/messages"}
    headers = {"authorization": "Bearer k", "x-api-key": "k", "anthropic-version": "2023-06-01"}
    body = json.dumps({**ASKED, **more}).encode()
    return b"".join(FakeProvider(answer).receive("POST", paths[source], headers, body).chunks())


def streamed(source: str, answer: Answer | Fault) -> bytes:
    """Return what a vendor of dialect ``source`` streams, usage included."""
    return provided(source, answer, **(WITH_USAGE if source == "chat" else {"stream": True}))


def told(source: str, parts: Iterable[bytes], asked: dict[str, Any] | None = None) -> bytes:
    """Return a stream in the other dialect."""
    shaper = stream_to(OTHER[source], source=source, asked=asked or WITH_USAGE)
    return b"".join([shaper.feed(part) for part in parts]) + shaper.flush()


def lasting(content: Any) -> Any:
    """Return JSON less what is made up anew for each answer."""
    text = content.decode() if isinstance(content, bytes) else json.dumps(content)
    return re.sub(r'"(created)": ?\d+', r'"\1":0', text)


def whole(dialect: str, stream: bytes) -> dict[str, Any]:
    """Assemble a stream as the rest of the library does."""
    meter = DIALECTS[dialect].meter(streamed=True)
    meter.feed(stream)
    assert meter.finished
    message = meter.message()
    assert message is not None
    return message


def _comparable(message: dict[str, Any]) -> dict[str, Any]:
    """Return an answer less its ids, its time and the blanks in its arguments."""
    for choice in message.get("choices", []):
        for call in choice["message"].get("tool_calls") or []:
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    text = re.sub(r"(call|toolu)_\w+", "id", json.dumps(message))
    return {key: value for key, value in json.loads(text).items() if key not in ("id", "created")}


def _inputs(answer: Answer) -> list[dict[str, Any]]:
    return [dict(call.arguments) for call in answer.tool_calls if not isinstance(call.arguments, str)]


@pytest.mark.parametrize(("source", "answer"), CASES)
def test_a_stream_and_a_whole_answer_say_the_same(source: str, answer: Answer) -> None:
    dialect = OTHER[source]
    shaper = stream_to(dialect, source=source, asked=WITH_USAGE)
    found = whole(dialect, shaper.feed(streamed(source, answer)) + shaper.flush())
    expected = answer_to(dialect, json.loads(provided(source, answer)), source=source)
    assert _comparable(found) == _comparable(expected)
    usage = shaper.usage()
    assert usage is not None
    assert usage.raw == expected["usage"]


@pytest.mark.parametrize(("source", "answer"), CASES)
@settings(deadline=None, max_examples=12)
@given(st.data())
def test_the_network_may_cut_it_anywhere(source: str, answer: Answer, data: st.DataObject) -> None:
    stream = streamed(source, answer)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=40)))
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert lasting(told(source, parts)) == lasting(told(source, [stream]))
    crlf = stream.replace(b"\n", b"\r\n")
    assert lasting(told(source, [crlf[:7], b"", crlf[7:]])) == lasting(told(source, [stream]))
    assert lasting(told(source, [stream.rstrip()])) == lasting(told(source, [stream]))


@pytest.mark.parametrize("name", MESSAGES_ANSWERS)
def test_openais_sdk_reads_what_anthropic_streams(name: str, openai_sdk: Callable[[bytes], openai.OpenAI]) -> None:
    answer = MESSAGES_ANSWERS[name]
    stream = told("messages", [streamed("messages", answer)])
    expected = answer_to("chat", json.loads(provided("messages", answer)), source="messages")["choices"][0]
    messages: Any = ASKED["messages"]
    chunks = list(openai_sdk(stream).chat.completions.create(model="m", messages=messages, stream=True))
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    for chunk in chunks:
        type(chunk).model_validate(chunk.model_dump(), strict=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == (
        expected["message"]["content"] or ""
    )
    with openai_sdk(stream).chat.completions.stream(model="m", messages=messages) as events:
        kinds = {event.type for event in events}
        final: Any = events.current_completion_snapshot
        if expected["finish_reason"] in ("length", "content_filter"):  # the SDK's parser wants a whole answer
            with pytest.raises((openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError)):
                events.get_final_completion()
        else:
            final = events.get_final_completion()
    choice = final.choices[0]
    assert choice.finish_reason == expected["finish_reason"]
    assert (choice.message.content or "") == (expected["message"]["content"] or "")
    assert choice.message.refusal == expected["message"]["refusal"]
    assert final.usage is not None
    assert final.usage.total_tokens > 0
    calls = choice.message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == _inputs(answer)
    assert ("tool_calls.function.arguments.done" in kinds) is bool(answer.tool_calls)


@pytest.mark.parametrize("name", CHAT_ANSWERS)
def test_anthropics_sdk_reads_what_openai_streams(
    name: str, anthropic_sdk: Callable[[bytes], anthropic.Anthropic]
) -> None:
    answer = CHAT_ANSWERS[name]
    stream = told("chat", [streamed("chat", answer)])
    expected = answer_to("messages", json.loads(provided("chat", answer)), source="chat")
    messages: Any = ASKED["messages"]
    events = list(anthropic_sdk(stream).messages.create(model="m", max_tokens=9, messages=messages, stream=True))
    assert [events[0].type, events[-2].type, events[-1].type] == ["message_start", "message_delta", "message_stop"]
    for event in events[1:]:
        type(event).model_validate(event.model_dump(), strict=True)
    with anthropic_sdk(stream).messages.stream(model="m", max_tokens=9, messages=messages) as flow:
        said = "".join(flow.text_stream)
        final = flow.get_final_message()
    type(final).model_validate(final.model_dump(), strict=True)
    assert said == "".join(block["text"] for block in expected["content"] if block["type"] == "text")
    assert [block.type for block in final.content] == [block["type"] for block in expected["content"]]
    assert [block.input for block in final.content if block.type == "tool_use"] == _inputs(answer)
    assert final.stop_reason == expected["stop_reason"]
    usage = final.usage.model_dump()
    assert {key: usage[key] for key in expected["usage"] if key != "service_tier"} == {
        key: value for key, value in expected["usage"].items() if key != "service_tier"
    }


@pytest.mark.parametrize("source", OTHER)
def test_each_piece_leaves_as_soon_as_it_is_there(source: str) -> None:
    words = ["one", "two", "three", "four", "five", "six"]
    shaper = stream_to(OTHER[source], source=source, asked=WITH_USAGE)
    for event in Framer().feed(streamed(source, Answer(" ".join(words)))):
        found = shaper.feed(event.raw)
        for word in words:
            assert (word.encode() in found) is (word.encode() in event.data)


def test_the_usage_chunk_is_for_who_asked_for_it() -> None:
    stream = streamed("messages", Answer("hi"))
    for asked in ({"stream": True}, {"stream": True, "stream_options": None}):
        shaper = stream_to("chat", source="messages", asked=asked)
        found = shaper.feed(stream) + shaper.flush()
        assert b'"usage"' not in found
        assert shaper.usage() is not None
    assert told("messages", [stream]).count(b'"usage":null') == told("messages", [stream]).count(b"chunk") - 1


@pytest.mark.parametrize("status", [429, 500, 529])
def test_the_sdks_raise_their_own_errors(
    status: int,
    openai_sdk: Callable[[bytes], openai.OpenAI],
    anthropic_sdk: Callable[[bytes], anthropic.Anthropic],
) -> None:
    fault = Fault(status, after=4, answer=Answer("one two three four"))
    messages: Any = ASKED["messages"]
    chat = told("messages", [streamed("messages", fault)])
    with pytest.raises(openai.APIError):
        list(openai_sdk(chat).chat.completions.create(model="m", messages=messages, stream=True))
    other = told("chat", [streamed("chat", fault)])
    with pytest.raises(anthropic.APIStatusError) as raised:
        list(anthropic_sdk(other).messages.create(model="m", max_tokens=9, messages=messages, stream=True))
    kinds = {429: "rate_limit_error", 500: "api_error", 529: "api_error"}
    assert raised.value.body == {
        "type": "error",
        "error": {"type": kinds[status], "message": json.loads(Framer().feed(other)[-1].data)["error"]["message"]},
    }
