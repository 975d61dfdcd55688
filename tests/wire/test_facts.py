"""What a stream says of its own terms, without assembling it: what prices need."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmsaver.wire import DIALECTS


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def test_a_chat_streams_last_chunk_tells() -> None:
    meter = DIALECTS["chat"].meter(streamed=True)
    chunk = {"model": "gpt-x", "service_tier": "flex", "choices": [{"index": 0, "delta": {"content": "a"}}]}
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    meter.feed(stream(chunk, {"model": "gpt-x", "service_tier": "flex", "choices": [], "usage": usage}))
    assert meter.feed(b"data: [DONE]\n\n")
    assert meter.facts() == {"model": "gpt-x", "service_tier": "flex", "usage": usage}


def test_a_messages_stream_tells_at_its_start_and_its_usage_at_its_end() -> None:
    meter = DIALECTS["messages"].meter(streamed=True)
    start = {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 3}}}
    meter.feed(stream(start, {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 4}}))
    facts = meter.facts()
    assert facts is not None
    assert facts["model"] == "claude-x"
    assert facts["usage"] == {"input_tokens": 3, "output_tokens": 4}


def test_a_responses_stream_tells_in_its_last_event() -> None:
    meter = DIALECTS["responses"].meter(streamed=True)
    done = {"type": "response.completed", "response": {"model": "gpt-x", "output": [], "service_tier": "priority"}}
    meter.feed(stream(done))
    facts = meter.facts()
    assert facts is not None
    assert (facts["model"], facts["service_tier"]) == ("gpt-x", "priority")


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_an_empty_stream_tells_nothing(dialect: str) -> None:
    assert not DIALECTS[dialect].meter(streamed=True).facts()


@pytest.mark.parametrize("dialect", list(DIALECTS))
def test_one_json_body_tells_all_it_has(dialect: str) -> None:
    meter = DIALECTS[dialect].meter(streamed=False)
    meter.feed(b'{"model":"m","service_tier":"default"}')
    assert meter.facts() == {"model": "m", "service_tier": "default"}
