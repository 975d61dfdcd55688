"""What holds for every streamed dialect."""

from __future__ import annotations

import json
import logging
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.wire import DIALECTS, payload
from llmsaver.wire.sse import Event
from llmsaver.wire.streams import PlainShaper, Reading, StreamMeter, StreamShaper, noted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STREAMED = ("chat", "responses", "messages")

MESSAGES: dict[str, dict[str, Any]] = {
    "chat": {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": i, "message": {"role": "assistant", "content": "[DONE] \n\n é" * 3}, "finish_reason": "stop"}
            for i in range(2)
        ],
        "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6},
    },
    "responses": {
        "id": "r",
        "object": "response",
        "status": "completed",
        "output": [
            {
                "id": "i",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "response.completed é", "annotations": []}],
            }
        ],
        "usage": {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6},
    },
    "messages": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "message_stop é"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 4, "output_tokens": 2},
    },
}
ASKED = {"stream": True, "stream_options": {"include_usage": True}}

# What any stream may be made of: real events of any dialect, broken ones, and noise.
wild = st.lists(
    st.sampled_from(
        [event for name in STREAMED for event in DIALECTS[name].replay(MESSAGES[name], ASKED)]
        + [
            b"data: [DONE]\n\n",
            b'data: {"error": {"message": "x"}}\n\n',
            b"event: error\ndata: nonsense\n\n",
            b'data: {"type":"message_start","message":[]}\n\n',
            b'data: {"type":"content_block_start","index":"x","content_block":3}\n\n',
            b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":5}}\n\n',
            b'data: {"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}\n\n',
            b'data: {"type":"response.completed","response":null}\n\n',
            b'data: {"type":"response.output_text.delta","output_index":0,"delta":null}\n\n',
            b'data: {"choices":[3,{"delta":7},{"index":"x","delta":{"tool_calls":[1,{}]},"logprobs":[]}]}\n\n',
            b'data: {"choices":null,"usage":[1]}\n\n',
            b'data: {"choices":[{"delta":{"content":{"a":{"b":"c"}}}},{"delta":{"content":"x"}}]}\n\n',
            b": ping\n\n",
            b"\xff\n\n",
            b"data: {}\r\n\r\n",
        ]
    )
    | st.binary(max_size=9),
    max_size=12,
)


@given(st.sampled_from(STREAMED), wild, st.lists(st.integers(1, 400), max_size=6))
def test_no_stream_raises_and_no_split_matters(name: str, parts: list[bytes], cuts: list[int]) -> None:
    body = b"".join(parts)
    dialect = DIALECTS[name]
    edges = [0, *sorted({c % (len(body) + 1) for c in cuts}), len(body)]
    once, often = dialect.meter(streamed=True), dialect.meter(streamed=True)
    plain, shaped = (dialect.shaper(hide_usage=True, note=lambda: {"a": 1}) for _ in range(2))
    whole = once.feed(body)
    out = b""
    ended = False
    for a, b in pairwise(edges):
        ended = often.feed(body[a:b])
        # Asking early changes nothing.
        assert often.finished in (True, False)
        often.usage()
        often.message()
        out += shaped.feed(body[a:b])
    assert ended == whole
    assert (often.finished, often.usage(), often.message()) == (once.finished, once.usage(), once.message())
    assert out + shaped.flush() == plain.feed(body) + plain.flush()


@pytest.mark.parametrize("name", STREAMED)
def test_the_end_is_seen_with_its_last_byte_and_not_before(name: str) -> None:
    dialect = DIALECTS[name]
    body = b"".join(dialect.replay(MESSAGES[name], ASKED))
    meter = dialect.meter(streamed=True)
    seen = [meter.feed(body[i : i + 1]) for i in range(len(body))]
    assert seen == [False] * (len(body) - 1) + [True]
    assert meter.finished
    assert meter.message() == MESSAGES[name]
    usage = meter.usage()
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (4, 2)
    # What follows an end is nobody's answer.
    assert meter.feed(body) is True
    assert meter.message() == MESSAGES[name]
    assert meter.message() is meter.message()


@pytest.mark.parametrize("name", STREAMED)
def test_a_last_event_without_its_blank_line_counts(name: str) -> None:
    dialect = DIALECTS[name]
    body = b"".join(dialect.replay(MESSAGES[name], ASKED)).rstrip(b"\n")
    meter = dialect.meter(streamed=True)
    assert meter.feed(body) is False
    assert meter.finished
    assert meter.message() == MESSAGES[name]
    assert meter.feed(b"\n\n") is True
    assert meter.message() == MESSAGES[name]


@pytest.mark.parametrize("name", STREAMED)
def test_every_beginning_of_a_stream_gives_a_partial_answer(name: str) -> None:
    dialect = DIALECTS[name]
    meter = dialect.meter(streamed=True)
    events = list(dialect.replay(MESSAGES[name], ASKED))
    assert meter.message() is None
    assert meter.usage() is None
    for event in events[:-1]:
        assert meter.feed(event) is False
        message = meter.message()
        assert message is not None
        assert message["id"] == MESSAGES[name]["id"]
    assert dialect.meter(streamed=True).finished is False


@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize("error", [b'data: {"type":"error","error":{"message":"x"}}\n\n', b"event: error\ndata: x\n\n"])
def test_an_error_ends_a_stream_that_is_no_answer(name: str, error: bytes) -> None:
    dialect = DIALECTS[name]
    first = next(iter(dialect.replay(MESSAGES[name], ASKED)))
    meter = dialect.meter(streamed=True)
    assert meter.feed(first) is False
    assert meter.feed(error) is True
    assert meter.finished is False
    assert meter.feed(b"data: [DONE]\n\n") is True
    assert meter.finished is False
    shaper = dialect.shaper(hide_usage=True, note=lambda: {"a": 1})
    assert shaper.feed(error) == error


@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize("note", [lambda: 1 / 0, lambda: {"a": object()}, lambda: None])
def test_a_note_that_fails_costs_nothing(
    name: str,
    note: Callable[[], Mapping[str, Any]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payload, "_warned", set())
    body = b"".join(DIALECTS[name].replay(MESSAGES[name], {}))
    shaper = DIALECTS[name].shaper(hide_usage=False, note=note)
    with caplog.at_level(logging.WARNING, "llmsaver"):
        assert shaper.feed(body) + shaper.flush() == body
    assert len(caplog.records) == 1


@pytest.mark.parametrize("name", DIALECTS)
def test_nothing_to_shape_passes_every_byte_at_once(name: str) -> None:
    shaper = DIALECTS[name].shaper(hide_usage=False, note=None)
    assert isinstance(shaper, PlainShaper)
    assert shaper.feed(b"data: half") == b"data: half"
    assert shaper.flush() == b""


def test_noted_leaves_alone_what_it_cannot_extend() -> None:
    def note() -> dict[str, Any]:
        return {"a": 1}

    for raw, data in [
        (b'data: {"a":\ndata: 1}\n\n', b'{"a":\n1}'),
        (b": {}\ndata: {}\n\n", b"{}"),
        (b'data: {"a":"\xff"}\n\n', b'{"a":"\xff"}'),
        (b"data: [1]\n\n", b"[1]"),
    ]:
        assert noted(Event(raw, b"", data), note) == raw
    assert noted(Event(b"id: 7\ndata: {}\n\n", b"", b"{}"), note) == b'id: 7\ndata: {"llmsaver": {"a": 1}}\n\n'


@pytest.mark.parametrize("name", STREAMED)
def test_an_ordinary_delta_costs_microseconds(name: str) -> None:
    first, *rest = DIALECTS[name].replay(MESSAGES[name], {})
    delta = next(event for event in rest if b"delta" in event)
    best = 1.0
    for _ in range(5):
        meter = DIALECTS[name].meter(streamed=True)
        meter.feed(first)
        started = time.thread_time()
        for _ in range(1000):
            meter.feed(delta)
        best = min(best, time.thread_time() - started)
    # Measured at 2 to 3 us; the bound only catches a JSON parse per token, on a machine that does other things.
    assert best / 1000 < 20e-6


def test_a_dialect_says_what_its_events_mean() -> None:
    event = Event(b"data: x\n\n", b"", b"x")
    reading = Reading()
    for missing in (lambda: reading.take(event), reading.usage, reading.message):
        with pytest.raises(NotImplementedError):
            missing()
    with pytest.raises(NotImplementedError):
        StreamShaper().feed(event.raw)


def test_an_answer_too_deep_to_assemble_is_none() -> None:
    class Deep(Reading):
        def take(self, event: Event) -> None:
            self.ended = event.data == b"end"

        def message(self) -> dict[str, Any] | None:
            raise RecursionError

    meter = StreamMeter(Deep())
    assert meter.feed(b"data: end\n\n") is True
    assert meter.message() is None


@pytest.mark.parametrize("name", STREAMED)
def test_twenty_megabytes_in_one_event_and_many_small_ones(name: str) -> None:
    started = time.thread_time()
    message = json.loads(json.dumps(MESSAGES[name]).replace("\\u00e9", "x" * 20_000_000, 1))
    meter = DIALECTS[name].meter(streamed=True)
    # A response that is told as a stream repeats its text; one whole event is enough here.
    meter.feed(b"data: " + json.dumps({"type": "odd", "choices": [], "usage": None, "big": message}).encode() + b"\n\n")
    delta = next(e for e in DIALECTS[name].replay(MESSAGES[name], {}) if b"delta" in e and b'"role"' not in e)
    meter.feed(delta * (2_000_000 // len(delta)))
    assert meter.finished is False
    meter.message()
    assert time.thread_time() - started < 60
