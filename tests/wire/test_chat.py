"""The chat dialect: usage, the end, the usage chunk and the note."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.core.usage import Usage
from llmsaver.wire import DIALECTS
from llmsaver.wire.chat import chat_usage

CHAT = DIALECTS["chat"]
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    return (
        b"data: "
        + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": choices, **more}).encode()
        + b"\n\n"
    )


def said(text: str, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": {"content": text}, "finish_reason": None}


def ended(index: int = 0, reason: str = "stop") -> dict[str, Any]:
    return {"index": index, "delta": {}, "finish_reason": reason}


def keys(out: bytes) -> list[Any]:
    """Return the note of every chunk in ``out``, None where it has none."""
    lines = [line.removeprefix(b"data: ") for line in out.split(b"\n\n") if line]
    return [json.loads(line).get("llmsaver") for line in lines if line != b"[DONE]"]


def test_usage_takes_the_parts_out_of_the_totals() -> None:
    raw = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 20, "rejected_prediction_tokens": 4},
    }
    usage = chat_usage(raw)
    assert usage == Usage(100, 50, cache_read_tokens=60, cache_write_tokens=10, reasoning_tokens=20, raw=raw)
    assert usage is not None
    assert usage.raw is raw


@pytest.mark.parametrize("bad", [None, -1, True, "7", 1.5, 10**13])
@pytest.mark.parametrize("key", ["prompt_tokens", "completion_tokens"])
def test_usage_needs_both_counts(key: str, bad: object) -> None:
    assert chat_usage({**USAGE, key: bad}) is None
    details = {"prompt_tokens_details": {"cached_tokens": bad}, "completion_tokens_details": None}
    usage = chat_usage({**USAGE, **details})
    assert usage is not None
    assert usage.cache_read_tokens == 0


@pytest.mark.parametrize(
    ("spelling", "read"),
    [
        (b'"usage":null', False),
        (b'"usage": null', False),
        (b'"usage" :\tnull', False),
        (b'"usage":{"prompt_tokens":1,"completion_tokens":2}', True),
        (b'"usage" : {"prompt_tokens":1,"completion_tokens":2}', True),
        (b'"usage":{"prompt_tokens":1,"completion_tokens":2},"x":{"usage":null}', True),
    ],
)
def test_usage_is_found_however_it_is_written(spelling: bytes, read: bool) -> None:
    meter = CHAT.meter(streamed=True)
    meter.feed(b'data: {"choices":[{"index":0,"delta":{"content":"usage"}}],' + spelling + b"}\n\n")
    assert (meter.usage() is not None) is read


def test_the_last_sane_usage_counts() -> None:
    meter = CHAT.meter(streamed=True)
    for tokens in (1, 2, None):
        meter.feed(chunk(said("x"), usage={"prompt_tokens": 5, "completion_tokens": tokens}))
    usage = meter.usage()
    assert usage is not None
    assert usage.output_tokens == 2


def test_text_that_looks_like_the_end_is_text() -> None:
    meter = CHAT.meter(streamed=True)
    text = 'data: [DONE]\n\n {"error": {}} "usage": {}'
    assert meter.feed(chunk(said(text)) + chunk(said("[DONE]")) + chunk(said("error"))) is False
    assert meter.finished is False
    message = meter.message()
    assert message is not None
    assert message["choices"][0]["message"]["content"] == text + "[DONE]error"


def test_without_done_every_choice_must_have_ended() -> None:
    meter = CHAT.meter(streamed=True)
    meter.feed(chunk(said("a"), said("b", 1)))
    assert meter.finished is False
    meter.feed(chunk(ended(0)))
    assert meter.finished is False
    assert meter.feed(chunk(ended(1))) is False
    assert meter.finished is True


def test_an_error_inside_a_choice_is_no_error_of_the_stream() -> None:
    meter = CHAT.meter(streamed=True)
    assert meter.feed(chunk({**said("x"), "content_filter_results": {"error": {"code": 1}}}, error=None)) is False


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({}, None),
        ({"stream": False}, None),
        ({"stream": None}, None),
        ({"stream": True, "stream_options": {"include_usage": True}}, None),
        ({"stream": True, "stream_options": "nonsense"}, None),
        ({"stream": True}, {"include_usage": True}),
        ({"stream": True, "stream_options": None}, {"include_usage": True}),
        ({"stream": True, "stream_options": {"include_usage": False}}, {"include_usage": True}),
        (
            {"stream": True, "stream_options": {"include_obfuscation": False}},
            {"include_obfuscation": False, "include_usage": True},
        ),
    ],
)
def test_with_usage(body: dict[str, Any], asked: dict[str, Any] | None) -> None:
    before = json.dumps(body)
    changed = CHAT.with_usage({"model": "m", **body})
    assert changed == (None if asked is None else {"model": "m", **body, "stream_options": asked})
    assert json.dumps(body) == before


@pytest.mark.parametrize("name", ["responses", "messages", "embeddings"])
def test_only_chat_has_to_ask(name: str) -> None:
    assert DIALECTS[name].with_usage({"stream": True}) is None


class TestHideUsage:
    def test_the_usage_chunk_goes_and_nothing_else(self) -> None:
        kept = [
            chunk(usage=None, prompt_filter_results=[]),
            chunk(said("usage"), usage=None),
            b": ping\n\n",
            chunk(ended(), usage=USAGE),
        ]
        shaper = CHAT.shaper(hide_usage=True, note=None)
        assert [shaper.feed(event) for event in kept] == kept
        assert shaper.feed(chunk(usage=USAGE)) == b""
        assert shaper.feed(DONE) == DONE
        assert shaper.flush() == b""

    def test_with_a_note_the_finish_chunk_carries_it(self) -> None:
        shaper = CHAT.shaper(hide_usage=True, note=lambda: {"a": 1})
        assert shaper.feed(chunk(said("x"))) == chunk(said("x"))
        assert shaper.feed(chunk(ended()) + chunk(usage=USAGE)) == b""
        assert shaper.feed(DONE) == chunk(ended(), llmsaver={"a": 1}) + DONE


class TestNote:
    def test_the_last_chunk_gets_it_and_it_is_asked_for_last(self) -> None:
        asked: list[str] = []
        shaper = CHAT.shaper(hide_usage=False, note=lambda: {"n": len(asked)})
        assert shaper.feed(chunk(said("x"))) == chunk(said("x"))
        assert shaper.feed(chunk(ended())) == b""
        assert shaper.feed(chunk(usage=USAGE)) == chunk(ended())
        asked.append("the money became known")
        assert shaper.feed(DONE) == chunk(usage=USAGE, llmsaver={"n": 1}) + DONE
        assert shaper.flush() == b""

    def test_content_is_never_held(self) -> None:
        shaper = CHAT.shaper(hide_usage=False, note=lambda: {"a": 1})
        assert shaper.feed(chunk(ended(0))) == b""
        assert shaper.feed(chunk(said("more", 1))) == chunk(ended(0)) + chunk(said("more", 1))
        assert shaper.feed(chunk(ended(1))) == b""
        assert keys(shaper.feed(DONE)) == [{"a": 1}]

    def test_what_follows_the_finish_without_content_is_last(self) -> None:
        shaper = CHAT.shaper(hide_usage=False, note=lambda: {"a": 1})
        assert shaper.feed(chunk(ended())) == b""
        late = chunk({"index": 0, "delta": {"role": "assistant", "content": ""}, "content_filter_offsets": {}})
        assert shaper.feed(late) == chunk(ended())
        assert shaper.feed(b": ping\n\n") == b": ping\n\n"
        assert keys(shaper.feed(DONE)) == [{"a": 1}]

    def test_without_done_it_comes_with_the_flush(self) -> None:
        shaper = CHAT.shaper(hide_usage=False, note=lambda: {"a": 1})
        assert shaper.feed(chunk(ended()) + b"data: half") == b""
        assert shaper.flush() == chunk(ended(), llmsaver={"a": 1}) + b"data: half"
        assert shaper.flush().count(b"llmsaver") == 0

    @pytest.mark.parametrize(
        "after", [b'data: {"error": {"message": "x"}}\n\n', b"data: nonsense\n\n", b"data: {}\n\n"]
    )
    def test_what_is_no_chunk_lets_the_held_one_go(self, after: bytes) -> None:
        shaper = CHAT.shaper(hide_usage=False, note=lambda: {"a": 1})
        assert shaper.feed(chunk(ended())) == b""
        assert shaper.feed(after) == chunk(ended()) + after
        assert shaper.feed(DONE) == DONE

    def test_a_stream_of_one_chunk(self) -> None:
        only = {"index": 0, "delta": {"role": "assistant", "content": "all of it"}, "finish_reason": "stop"}
        shaper = CHAT.shaper(hide_usage=False, note=lambda: {"a": 1})
        assert shaper.feed(chunk(only, usage=USAGE)) == b""
        assert shaper.feed(DONE) == chunk(only, usage=USAGE, llmsaver={"a": 1}) + DONE

    @given(st.lists(st.sampled_from([said("x"), said("y", 1), ended(0), ended(1)]), max_size=8), st.booleans())
    def test_every_chunk_arrives_in_order(self, choices: list[dict[str, Any]], hide: bool) -> None:
        events = [chunk(choice) for choice in choices]
        shaper = CHAT.shaper(hide_usage=hide, note=lambda: {"a": 1})
        out = shaper.feed(b"".join([*events, chunk(usage=USAGE), DONE])) + shaper.flush()
        expected = b"".join([*events, *([] if hide else [chunk(usage=USAGE)]), DONE])
        assert out.replace(b', "llmsaver": {"a": 1}', b"") == expected
        noted = bool(choices and choices[-1]["finish_reason"]) or not hide
        assert [note for note in keys(out) if note] == ([{"a": 1}] if noted else [])
        assert not noted or keys(out)[-1] == {"a": 1}
