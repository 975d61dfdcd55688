"""The messages dialect: additive usage, the end and the note."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.core.usage import Usage
from llmsaver.wire import DIALECTS
from llmsaver.wire.messages import messages_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    import anthropic

MESSAGES = DIALECTS["messages"]
SPLIT = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 2},
}


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


def test_usage_adds_what_the_dialect_counts_beside_the_input() -> None:
    raw = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 100,
        "cache_creation": SPLIT,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
    }
    usage = messages_usage(raw)
    assert usage == Usage(117, 50, cache_read_tokens=100, cache_write_tokens=7, reasoning_tokens=20, raw=raw)
    nulls = {"cache_creation_input_tokens": None, "cache_read_input_tokens": None, "output_tokens_details": None}
    assert messages_usage({**raw, **nulls}) == Usage(10, 50, raw={**raw, **nulls})


@pytest.mark.parametrize("bad", [None, -1, True, "7", 1.5, 10**13])
def test_usage_needs_both_counts(bad: object) -> None:
    assert messages_usage({"input_tokens": bad, "output_tokens": 1}) is None
    assert messages_usage({"input_tokens": 1, "output_tokens": bad}) is None
    assert messages_usage({"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": bad}) is not None


def test_a_delta_replaces_counts_and_keeps_the_split_of_the_start() -> None:
    meter = MESSAGES.meter(streamed=True)
    started = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 0,
        "cache_creation": SPLIT,
        "output_tokens": 1,
        "service_tier": "standard",
    }
    meter.feed(event("message_start", message={**MESSAGE, "content": [], "usage": started}))
    assert meter.usage() == Usage(17, 1, cache_write_tokens=7, raw=started)
    for total in (5, 9):
        delta = {"output_tokens": total, "cache_read_input_tokens": None, "server_tool_use": {"web_search_requests": 1}}
        meter.feed(event("message_delta", delta={"stop_reason": "end_turn"}, usage=delta))
    usage = meter.usage()
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (17, 9)
    assert usage.raw == {**started, "output_tokens": 9, "server_tool_use": {"web_search_requests": 1}}
    message = meter.message()
    assert message is not None
    assert message["usage"] == usage.raw


def test_text_that_looks_like_the_end_is_text() -> None:
    meter = MESSAGES.meter(streamed=True)
    meter.feed(event("message_start", message={**MESSAGE, "content": []}))
    meter.feed(event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
    for text in ("message_stop", '{"type":"message_stop"}', "error", "[DONE]"):
        assert meter.feed(event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})) is False
    assert meter.finished is False
    assert meter.feed(event("message_stop")) is True
    assert meter.finished is True


class TestNote:
    def test_it_is_in_the_message_early_and_on_the_end_final(self) -> None:
        money: list[str] = []
        shaper = MESSAGES.shaper(hide_usage=False, note=lambda: {"cost": money[:]})
        start = event("message_start", message={**MESSAGE, "content": []})
        out = shaper.feed(start)
        assert json.loads(out.split(b"data: ")[1])["message"] == {**MESSAGE, "content": [], "llmsaver": {"cost": []}}
        assert out.replace(b', "llmsaver": {"cost": []}', b"") == start
        delta = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "message_start"})
        quoted = event("content_block_delta", index=0, delta={"type": "text_delta", "text": '"message_stop"'})
        same = [event("ping"), delta, quoted, event("message_delta", delta={}, usage={})]
        assert [shaper.feed(e) for e in same] == same
        money.append("0.1")
        out = shaper.feed(event("message_stop"))
        assert out == b'event: message_stop\ndata: {"type": "message_stop", "llmsaver": {"cost": ["0.1"]}}\n\n'

    def test_a_message_that_is_none_stays(self) -> None:
        shaper = MESSAGES.shaper(hide_usage=False, note=lambda: {"a": 1})
        for odd in (event("message_start", message=None), event("x", a="message_stop", b={"message_stop": 1})):
            assert shaper.feed(odd) == odd

    def test_the_sdk_shows_it(self, anthropic_sdk: Callable[..., anthropic.Anthropic]) -> None:
        shaper = MESSAGES.shaper(hide_usage=False, note=lambda: {"entry": "e1"})
        body = b"".join(shaper.feed(e) for e in MESSAGES.replay(MESSAGE, {})) + shaper.flush()
        with anthropic_sdk(body).messages.stream(model="m", max_tokens=9, messages=[]) as stream:
            final = stream.get_final_message()
        assert final.to_dict()["llmsaver"] == {"entry": "e1"}
