"""Answers and streams of broken servers: refused or passed on, but no exception of another kind ever."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.wire.sse import Framer
from llmsaver.wire.translate import Untranslatable, answer_to, error_to, stream_to

OTHER = {"chat": "messages", "messages": "chat"}
KEYS = [
    *("choices", "delta", "message", "content", "tool_calls", "function", "arguments", "name", "id", "index", "usage"),
    *("finish_reason", "refusal", "prompt_tokens", "completion_tokens", "service_tier", "stop_reason", "error", "type"),
    *("content_block", "partial_json", "text", "input", "stop_details", "input_tokens", "output_tokens", "code"),
]
KINDS = [
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"),
    *(
        "message_stop",
        "text",
        "tool_use",
        "thinking",
        "text_delta",
        "input_json_delta",
        "stop",
        "length",
        "error",
        "",
        "{}",
    ),
]
noise = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.sampled_from(KINDS) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)
said = st.dictionaries(st.sampled_from(KEYS), noise, max_size=5)
events = said | st.builds(lambda rest, kind: {**rest, "type": kind}, said, st.sampled_from(KINDS[:6]))
chunks = st.builds(
    lambda rest, deltas: {**rest, "choices": [{"delta": delta} for delta in deltas]}, said, st.lists(said, max_size=2)
)


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from([*OTHER]),
    said | chunks | st.builds(lambda rest, content: {**rest, "content": content}, said, noise),
)
def test_a_whole_answer(source: str, answer: dict[str, Any]) -> None:
    with suppress(Untranslatable):
        assert json.dumps(answer_to(OTHER[source], answer, source=source))


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([*OTHER]), said, st.integers(100, 599))
def test_an_error(source: str, body: dict[str, Any], status: int) -> None:
    told = json.loads(error_to(OTHER[source], json.dumps(body).encode(), status, source=source))
    assert isinstance(told["error"]["message"], str)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([*OTHER]), st.lists(events | chunks, max_size=8))
def test_a_stream(source: str, sent: list[dict[str, Any]]) -> None:
    shaper = stream_to(OTHER[source], source=source, asked={})
    found = b"".join(shaper.feed(b"data: " + json.dumps(event).encode() + b"\n\n") for event in sent) + shaper.flush()
    for event in Framer().feed(found):
        if event.data != b"[DONE]":
            assert isinstance(json.loads(event.data), dict)
    shaper.usage()


@settings(deadline=None)
@given(st.sampled_from([*OTHER]), st.lists(st.binary(max_size=30), max_size=5))
def test_bytes(source: str, parts: list[bytes]) -> None:
    shaper = stream_to(OTHER[source], source=source, asked={})
    for part in parts:
        shaper.feed(part)
    assert isinstance(shaper.flush(), bytes)
