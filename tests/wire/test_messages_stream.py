"""Messages told as streams, and streams read as messages, with the real SDK as judge."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmsaver.wire import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    import anthropic

MESSAGES = DIALECTS["messages"]
counts = st.integers(0, 10**6)
texts = st.one_of(
    st.text(max_size=8), st.builds(str.__mul__, st.sampled_from(["é\n", "message_stop", "\0"]), st.integers(1, 400))
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
citation = st.just(
    {"type": "char_location", "cited_text": "x", "document_index": 0, "start_char_index": 0, "end_char_index": 1}
)
blocks = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("text"), "text": texts},
        optional={"citations": st.none() | st.lists(citation, min_size=1, max_size=2)},
    ),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts, "signature": texts}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": texts}),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["tool_use", "server_tool_use"]),
            "id": st.just("toolu_1"),
            "name": st.just("web_search"),
            "input": st.dictionaries(st.text(max_size=4), values, max_size=3),
        },
        optional={"caller": st.just({"type": "direct"})},
    ),
    st.just(
        {
            "type": "web_search_tool_result",
            "tool_use_id": "toolu_1",
            "content": [
                {"type": "web_search_result", "title": "t", "url": "u", "encrypted_content": "e", "page_age": None}
            ],
        }
    ),
)
usages = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts},
    optional={
        "cache_creation_input_tokens": st.none() | counts,
        "cache_read_input_tokens": counts,
        "cache_creation": st.just({"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}),
        "server_tool_use": st.none() | st.just({"web_search_requests": 1, "web_fetch_requests": 0}),
        "output_tokens_details": st.none() | st.just({"thinking_tokens": 1}),
        "service_tier": st.just("standard"),
    },
)
messages = st.fixed_dictionaries(
    {
        "id": st.just("msg_1"),
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": st.just("claude"),
        "content": st.lists(blocks, max_size=4),
        "stop_reason": st.sampled_from(["end_turn", "tool_use", "stop_sequence"]),
        "stop_sequence": st.none() | st.just("STOP"),
        "usage": usages,
    },
    optional={
        "stop_details": st.none() | st.just({"type": "refusal"}),
        "container": st.none() | st.just({"id": "c", "expires_at": "2026-11-01T00:00:00Z"}),
    },
)


@given(messages, st.lists(st.integers(0, 10**6), max_size=5))
def test_a_message_told_as_a_stream_is_the_same_message(message: dict[str, Any], cuts: list[int]) -> None:
    body = b"".join(MESSAGES.replay(message, {}))
    meter = MESSAGES.meter(streamed=True)
    edges = [0, *sorted({c % (len(body) + 1) for c in cuts}), len(body)]
    for a, b in pairwise(edges):
        ended = meter.feed(body[a:b])
    assert ended
    assert meter.finished
    assert meter.message() == message
    usage = meter.usage()
    assert usage is not None
    assert {k: v for k, v in usage.raw.items() if v is not None} == pruned(message["usage"])


def pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: pruned(inner) for key, inner in value.items() if inner is not None}
    return [pruned(inner) for inner in value] if isinstance(value, list) else value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(message=messages)
def test_the_sdk_accumulates_the_same_message(
    message: dict[str, Any], anthropic_sdk: Callable[..., anthropic.Anthropic]
) -> None:
    body = b"".join(MESSAGES.replay(message, {}))
    with anthropic_sdk(body).messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        final = stream.get_final_message()
    assert pruned(json.loads(final.to_json(exclude_none=True, exclude_unset=False))) == pruned(message)


def test_the_sdk_iterates_every_event(anthropic_sdk: Callable[..., anthropic.Anthropic]) -> None:
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "x" * 600},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    client = anthropic_sdk(b"".join(MESSAGES.replay(message, {})))
    events = list(client.messages.create(model="m", max_tokens=9, messages=[], stream=True))
    told = [e.type if e.type != "content_block_delta" else e.delta.type for e in events]
    block = ["content_block_start", "{}", "content_block_stop"]
    assert told == [
        "message_start",
        *[block[0], "thinking_delta", "signature_delta", block[2]],
        *[block[0], "text_delta", "text_delta", block[2]],
        *[block[0], "input_json_delta", "input_json_delta", block[2]],
        "message_delta",
        "message_stop",
    ]


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


def assembled(*events: bytes) -> dict[str, Any] | None:
    meter = MESSAGES.meter(streamed=True)
    meter.feed(b"".join(events))
    return meter.message()


START = event("message_start", message={"id": "m", "content": [], "usage": {"input_tokens": 1, "output_tokens": 0}})


def block(content_block: dict[str, Any], *deltas: dict[str, Any], index: int = 0) -> bytes:
    told = [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return event("content_block_start", index=index, content_block=content_block) + b"".join(told)


def json_delta(text: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": text}


@pytest.mark.parametrize(
    ("content_block", "deltas", "whole"),
    [
        ({"type": "tool_use", "input": {}}, [json_delta('{"a"'), json_delta(": [1]}")], {"input": {"a": [1]}}),
        ({"type": "tool_use", "input": {}}, [json_delta("")], {"input": {}}),
        (
            {"type": "tool_use", "input": {}},
            [json_delta('{"a": '), json_delta("oops")],
            {"input": {}, "partial_json": '{"a": oops'},
        ),
        ({"type": "text", "text": "a"}, [{"type": "text_delta", "text": "b"}], {"text": "ab"}),
        ({"type": "text", "text": None}, [{"type": "text_delta", "text": "b"}, {"type": "text_delta"}], {"text": "b"}),
        (
            {"type": "text", "text": ""},
            [{"type": "citations_delta", "citation": 1}, {"type": "citations_delta", "citation": 2}],
            {"text": "", "citations": [1, 2]},
        ),
        ({"type": "compaction", "content": None}, [{"type": "compaction_delta", "content": "c"}], {"content": "c"}),
    ],
)
def test_blocks(content_block: dict[str, Any], deltas: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    message = assembled(START, block(content_block, *deltas))
    assert message is not None
    assert message["content"] == [{"type": content_block["type"], **whole}]


def test_events_that_belong_nowhere_are_left_out() -> None:
    assert assembled(event("message_delta", delta={"stop_reason": "x"}), block({"type": "text", "text": ""})) is None
    message = assembled(
        START, event("content_block_delta", index=7, delta={"type": "text_delta", "text": "x"}), event("ping")
    )
    assert message == {"id": "m", "content": [], "usage": {"input_tokens": 1, "output_tokens": 0}}


def test_what_a_delta_adds_to_the_message() -> None:
    told = event(
        "message_delta", delta={"stop_reason": None, "container": None}, context_management={"edits": []}, extra=None
    )
    assert assembled(START, told, event("message_delta", delta={"container": {"id": "c"}}, usage=[])) == {
        "id": "m",
        "content": [],
        "usage": {"input_tokens": 1, "output_tokens": 0},
        "stop_reason": None,
        "container": {"id": "c"},
        "context_management": {"edits": []},
    }


def test_after_a_fallback_the_message_is_the_model_that_answered() -> None:
    fallback = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}
    message = assembled(event("message_start", message={"id": "m", "model": "a"}), block(fallback))
    assert message == {"id": "m", "model": "b", "content": [fallback]}


def test_an_input_cut_short_is_told_as_far_as_it_went(anthropic_sdk: Callable[..., anthropic.Anthropic]) -> None:
    cut = {"type": "tool_use", "id": "t", "name": "f", "input": {}, "partial_json": '{"a": [1, 2], "b'}
    message = {"id": "m", "type": "message", "role": "assistant", "content": [cut], "stop_reason": "max_tokens"}
    told = list(MESSAGES.replay(message, {}))
    assembled_again = assembled(*told)
    assert assembled_again is not None
    assert assembled_again["content"] == [cut]
    with anthropic_sdk(b"".join(told)).messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        [block] = stream.get_final_message().content
    assert block.to_dict()["input"] == {"a": [1, 2]}


def test_odd_messages_are_still_streams() -> None:
    for odd in ({}, {"content": None}, {"content": ["x", {"type": "text", "text": 5}, {"type": "odd"}], "usage": None}):
        *_, delta, stop = MESSAGES.replay(odd, {})
        assert b'"usage":{"input_tokens":0,"output_tokens":0}' in delta
        assert stop == event("message_stop").replace(b": ", b":").replace(b"data:", b"data: ").replace(
            b"event:", b"event: "
        )
    assert assembled(*MESSAGES.replay({"id": "m", "content": [{"type": "text", "text": 5}]}, {}))
