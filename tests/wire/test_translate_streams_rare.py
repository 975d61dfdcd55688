"""Streams of other makings: calls side by side, ends that are missing, errors on the way, content without an equal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.testing import Answer, FakeProvider
from llmsaver.wire import DIALECTS
from llmsaver.wire.sse import Framer, encode
from llmsaver.wire.translate import stream_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import anthropic

OTHER = {"chat": "messages", "messages": "chat"}
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def provided(source: str, answer: Answer, **more: Any) -> bytes:
    """Return what a vendor of dialect ``source`` answers."""
    paths = {"chat": "https://x/v1/chat/completions", "messages": "https://x/v1/messages"}
    headers = {"authorization": "Bearer k", "x-api-key": "k", "anthropic-version": "2023-06-01"}
    body = json.dumps({**ASKED, **more}).encode()
    return b"".join(FakeProvider(answer).receive("POST", paths[source], headers, body).chunks())


def streamed(source: str, answer: Answer) -> bytes:
    """Return what a vendor of dialect ``source`` streams, usage included."""
    return provided(source, answer, **(WITH_USAGE if source == "chat" else {"stream": True}))


def told(source: str, parts: Iterable[bytes], asked: dict[str, Any] | None = None) -> bytes:
    """Return a stream in the other dialect."""
    shaper = stream_to(OTHER[source], source=source, asked=asked or WITH_USAGE)
    return b"".join([shaper.feed(part) for part in parts]) + shaper.flush()


def whole(dialect: str, stream: bytes) -> dict[str, Any]:
    """Assemble a stream as the rest of the library does."""
    meter = DIALECTS[dialect].meter(streamed=True)
    meter.feed(stream)
    assert meter.finished
    message = meter.message()
    assert message is not None
    return message


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """Write one chat chunk."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return encode({"id": "chatcmpl-1", "model": "m", "choices": [choice], **more})


def call(index: int | None, arguments: str, **more: Any) -> dict[str, Any]:
    """Write a piece of a call."""
    function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
    return {"tool_calls": [{**({} if index is None else {"index": index}), **more, "function": function}]}


def blocks(*parts: bytes) -> list[dict[str, Any]]:
    """Return the content that Anthropic's rules make of translated chunks; blocks must not overlap."""
    stream = told("chat", parts)
    opened = None
    for event in Framer().feed(stream):
        said = json.loads(event.data)
        if said["type"] == "content_block_start":
            assert opened is None
            opened = said["index"]
        elif said["type"].startswith("content_block"):
            assert said["index"] == opened
            opened = None if said["type"] == "content_block_stop" else opened
    content: list[dict[str, Any]] = whole("messages", stream)["content"]
    return content


def use(key: str, **given: Any) -> dict[str, Any]:
    """Write a call as a block."""
    return {"type": "tool_use", "id": key, "name": "f", "input": given}


def test_calls_that_arrive_side_by_side_are_told_one_after_the_other() -> None:
    found = blocks(
        chunk(call(0, '{"a', id="a", name="f")),
        chunk(call(1, '{"b": 2', id="b", name="f")),
        chunk(call(0, '": 1}')),
        chunk({"content": "Looking."}),
        chunk(call(1, "}")),
        chunk(call(2, "", id="c", name="f")),
        chunk(finish="tool_calls"),
        b"data: [DONE]\n\n",
    )
    assert found == [use("a", a=1), use("b", b=2), {"type": "text", "text": "Looking."}, use("c")]


def test_a_call_without_an_index_or_with_a_late_name_is_understood() -> None:
    found = blocks(
        chunk(call(None, "", id="a")),
        chunk(call(None, '{"a": 1}', name="f")),
        chunk(call(None, "{}", id="b", name="f")),
        chunk(finish="stop"),
    )
    assert found == [use("a", a=1), use("b")]


def test_a_call_without_a_name_or_with_broken_arguments_still_ends() -> None:
    found = blocks(
        chunk(call(0, '{"a":', id="a")),
        chunk(call(1, "{}", id="b", name="f")),
        chunk(finish="length"),
        b"data: [DONE]\n\n",
    )
    assert found == [{**use("a"), "name": "", "partial_json": '{"a":'}, use("b")]


def test_text_goes_on_after_calls() -> None:
    found = blocks(
        chunk({"role": "assistant", "content": None}),
        chunk({"content": "a"}),
        chunk(call(0, "{}", id="a", name="f")),
        chunk({"content": "b"}),
        chunk({"refusal": "c"}),
        chunk(finish="stop"),
    )
    assert found == [{"type": "text", "text": "a"}, use("a"), {"type": "text", "text": "bc"}]


def test_a_stream_of_anothers_making_ends_without_a_reason_or_a_done() -> None:
    first = encode({"id": "x", "choices": [], "prompt_filter_results": []})
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    for parts in (
        [first, chunk({"content": "hi"}, usage=usage), b"data: [DONE]\n\n"],
        [chunk({"content": "hi"}), chunk(finish="stop", usage=usage)],
    ):
        message = whole("messages", told("chat", parts))
        assert (message["stop_reason"], message["usage"]["input_tokens"]) == ("end_turn", 3)


def test_unknown_usage_stays_unknown(anthropic_sdk: Callable[[bytes], anthropic.Anthropic]) -> None:
    stream = told("chat", [chunk({"content": "hi"}), chunk(finish="stop"), b"data: [DONE]\n\n"])
    assert whole("messages", stream)["usage"] == {}
    messages: Any = ASKED["messages"]
    with anthropic_sdk(stream).messages.stream(model="m", max_tokens=9, messages=messages) as flow:
        assert flow.get_final_message().content[0].type == "text"
    start = encode({"type": "message_start", "message": {"id": "msg_1"}})
    stop = encode({"type": "message_stop"})
    assert b'"usage":{' not in told("messages", [start, stop])


def event(kind: str, **more: Any) -> bytes:
    """Write one event of a messages stream."""
    return encode({"type": kind, **more}, kind)


def test_blocks_that_begin_with_something_are_told_whole() -> None:
    parts = [
        event("message_start", message={"id": "msg_1", "model": "m", "usage": {}}),
        event("content_block_start", index=0, content_block={"type": "text", "text": "Well, "}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "look:"}),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block=use("a", city="Köln")),
        event("content_block_stop", index=1),
        event("something_new", index=2),
        event("content_block_delta", index=7, delta={"type": "input_json_delta", "partial_json": "{"}),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={}),
        event("message_stop"),
    ]
    choice = whole("chat", told("messages", parts))["choices"][0]
    assert choice["message"]["content"] == "Well, look:"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"city": "Köln"}'}
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("source", OTHER)
@pytest.mark.parametrize("keep", [1, 40, 200, 300])
def test_a_stream_that_was_cut_off_has_no_end(source: str, keep: int) -> None:
    found = told(source, [streamed(source, Answer("one two three four five six " * 9))[:-keep]])
    meter = DIALECTS[OTHER[source]].meter(streamed=True)
    meter.feed(found)
    assert meter.finished is (keep == 1)  # a last blank line is no loss


def test_a_stream_without_an_answer_is_an_error() -> None:
    assert b"no answer" in told("chat", [b"data: [DONE]\n\n"])
    assert b"no answer" in told("chat", [b": nothing\n\n"])
    assert told("messages", [b": nothing\n\n", b"data: [DONE]\n\n"]) == b""


FAULTS = [
    (b'event: error\ndata: {"message": "x"}\n\n', "x"),
    (b'data: {"error": "broken"}\n\n', "broken"),
    (b"data: {oops\n\n", "no JSON object"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS)
@pytest.mark.parametrize("source", OTHER)
def test_an_error_ends_a_stream(source: str, fault: bytes, words: str) -> None:
    begun = streamed(source, Answer("one two three"))[:400].rpartition(b"\n\n")[0] + b"\n\n"
    found = told(source, [begun, fault, b"data: [DONE]\n\n", chunk({"content": "more"})])
    last = json.loads(Framer().feed(found)[-1].data)
    assert words in last["error"]["message"]
    assert b"more" not in found
    meter = DIALECTS[OTHER[source]].meter(streamed=True)
    assert meter.feed(found)
    assert not meter.finished


CHAT_FAULTS = [
    chunk({"audio": {"id": "x"}}),
    chunk({"function_call": {"name": "f"}}),
    encode({"choices": [{"index": 1, "delta": {"content": "b"}}]}),
]
MESSAGES_FAULTS = [
    event("content_block_start", index=0, content_block={"type": "server_tool_use", "id": "x"}),
    event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {}}),
]


@pytest.mark.parametrize(
    ("source", "fault"), [*(("chat", each) for each in CHAT_FAULTS), *(("messages", each) for each in MESSAGES_FAULTS)]
)
def test_what_has_no_equal_ends_a_stream_with_an_error(source: str, fault: bytes) -> None:
    found = told(source, [fault])
    assert b"has no equal" in found or b"have no equal" in found
    if source == "chat":
        assert b"event: error" in found
