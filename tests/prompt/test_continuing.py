"""Where the parts of an answer join, what is asked for, and that nothing the API refuses is ever sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.continuing import Joint, asked_on, can_continue, cut_text, joined, prefills, summed
from llmsaver.prompt.continuing_streams import SEAMS
from llmsaver.wire import DIALECTS
from llmsaver.wire.sse import Event, Framer, encode

TEXT = "The quick brown fox jumps over the lazy dog, and then it goes home."


def through(text: str, part: str, size: int, *, prefilled: bool = False) -> str:
    joint = Joint(text, prefilled=prefilled)
    pieces = [part[at : at + size] for at in range(0, len(part), size)]
    return "".join(joint.feed(piece) for piece in pieces) + joint.flush()


@given(st.text(min_size=12, max_size=600), st.text(min_size=1, max_size=200), st.integers(1, 50), st.integers(12, 100))
def test_what_is_repeated_is_left_out(text: str, rest: str, size: int, back: int) -> None:
    text = "0123456789" + text.strip() + "|end|"
    anchor = text[-back:].lstrip()
    added = through(text, anchor + rest, size)
    # A longer repetition by chance is a repetition too.
    assert rest.endswith(added)
    if not any(text.endswith((anchor + rest)[:longer]) for longer in range(len(anchor) + 1, len(text))):
        assert added == rest


@given(st.text(max_size=60), st.text(max_size=60), st.integers(1, 9))
def test_a_prefilled_part_is_all_new_but_for_white_space(text: str, part: str, size: int) -> None:
    added = through(text, part, size, prefilled=True)
    assert added == (part.lstrip() if text[-400:] != text[-400:].rstrip() else part)


@pytest.mark.parametrize(
    ("before", "part", "added"),
    [
        ("the fox", "jumps", " jumps"),
        ("the fox.", "It", " It"),
        ("the fox", ", which", ", which"),
        ("the fox ", "jumps", "jumps"),
        ("the fox", " jumps", " jumps"),
        ("- a\n", "- b", "- b"),
        ("那只狐狸", "跳", "跳"),
        ("abc", "abcd", "d"),
        ("the quick brown fox", "  \n quick brown fox jumps", " jumps"),
        ("the fox", "", ""),
        ("the fox", "  ", "  "),
    ],
)
def test_seams(before: str, part: str, added: str) -> None:
    assert through(before, part, 3) == added


def test_nothing_is_held_for_long() -> None:
    joint = Joint("abc " * 300, prefilled=False)
    assert joint.feed("abc " * 100) == ""
    assert joint.feed("abc def") != ""
    assert joint.feed("more") == "more"
    assert joint.flush() == ""


def test_models_that_go_on_with_their_own_turn() -> None:
    for model, known in [
        ("claude-3-5-sonnet-20241022", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-opus-4-5", True),
        ("claude-haiku-4-5-20251001", True),
        ("claude-opus-4-6", False),
        ("claude-sonnet-5", False),
        ("claude-fable-5-1", False),
        ("gpt-5", False),
    ]:
        assert prefills("messages", {"model": model}) is known
    assert not prefills("chat", {"model": "claude-3-5-sonnet"})
    assert not prefills("messages", {"model": "claude-haiku-4-5", "thinking": {"type": "enabled"}})


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("embeddings", {"input": "x"}),
        ("chat", {"messages": []}),
        ("chat", {"messages": [{}], "n": 2}),
        ("chat", {"messages": [{}], "logprobs": True}),
        ("chat", {"messages": [{}], "modalities": ["text", "audio"]}),
        ("responses", {"input": "x", "include": ["message.output_text.logprobs"]}),
        ("responses", {"input": "x", "conversation": "c"}),
        ("responses", {"input": "x", "background": True}),
        ("responses", {"input": "x", "prompt": {"id": "p"}}),
        ("responses", {"previous_response_id": "r"}),
        ("messages", {"messages": [{}], "tools": [{}]}),
    ],
)
def test_what_is_never_gone_on_with(dialect: str, body: dict[str, Any]) -> None:
    assert can_continue(dialect, body)


PART = {"type": "output_text", "text": "abc"}
MESSAGE = {"type": "message", "content": [PART]}
CUT = {"incomplete_details": {"reason": "max_output_tokens"}}


@pytest.mark.parametrize(
    ("dialect", "message", "text"),
    [
        ("chat", {"choices": [{"finish_reason": "length", "message": {"content": "abc"}}]}, "abc"),
        ("chat", {"choices": [{"finish_reason": "stop", "message": {"content": "abc"}}]}, None),
        ("chat", {"choices": [{"finish_reason": "length", "message": {"content": "a", "tool_calls": [1]}}]}, None),
        ("chat", {"choices": [{"finish_reason": "length", "message": {"content": None}}]}, None),
        ("chat", {"choices": [{}, {}]}, None),
        ("chat", {}, None),
        ("responses", {**CUT, "output": [{"type": "reasoning"}, MESSAGE]}, "abc"),
        ("responses", {"output": [MESSAGE]}, None),
        ("responses", {**CUT, "output": [MESSAGE, {"type": "reasoning"}]}, None),
        ("responses", {**CUT, "output": [{"type": "function_call"}, MESSAGE]}, None),
        ("responses", {**CUT, "output": []}, None),
        ("responses", {**CUT, "output": [{"type": "message", "content": []}]}, None),
        ("responses", {**CUT, "output": [{"type": "message", "content": [{**PART, "annotations": [1]}]}]}, None),
        ("messages", {"stop_reason": "max_tokens", "content": [{"type": "text", "text": "abc"}]}, "abc"),
        ("messages", {"stop_reason": "end_turn", "content": [{"type": "text", "text": "abc"}]}, None),
        ("messages", {"stop_reason": "max_tokens", "content": [{"type": "thinking", "thinking": "x"}]}, None),
        ("messages", {"stop_reason": "max_tokens", "content": [{"type": "tool_use"}]}, None),
        (
            "messages",
            {"stop_reason": "max_tokens", "content": [{"type": "text", "text": "a", "citations": [1]}]},
            None,
        ),
    ],
)
def test_what_was_cut_off(dialect: str, message: dict[str, Any], text: str | None) -> None:
    assert cut_text(dialect, message) == text


def test_usage_adds_up() -> None:
    one = {"a": 1, "b": {"c": 2, "d": None}, "e": "x", "f": [1], "g": True, "h": 0.5}
    other = {"a": 10, "b": {"c": 20, "d": 3}, "e": "y", "f": [2], "g": False, "h": 1, "i": 5}
    assert summed(one, other) == {"a": 11, "b": {"c": 22, "d": 3}, "e": "x", "f": [1, 2], "g": True, "h": 1.5, "i": 5}
    assert summed(None, one) == summed(one, None) == one


def test_joined_without_a_finish_stays_cut_off() -> None:
    first = {"choices": [{"message": {"content": "a"}, "finish_reason": "length"}]}
    assert joined("chat", [first, {}], "b") == {"choices": [{"message": {"content": "ab"}, "finish_reason": "length"}]}


def test_the_place_is_told_by_whole_words() -> None:
    asked = asked_on("chat", {"messages": [{"role": "user", "content": "x"}]}, TEXT, prefilling=False)
    assert "<last>" in asked["messages"][-1]["content"]
    anchor = asked["messages"][-1]["content"].split("<last>")[1].split("</last>")[0]
    assert TEXT.endswith(f" {anchor}")
    long = asked_on("responses", {"input": "x"}, "x" * 100, prefilling=False)
    assert "x" * 60 in long["input"][-1]["content"]
    assert long["input"][0] == {"role": "user", "content": "x"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["length", "max_tokens", "a", "text", "error"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "choices",
                    "delta",
                    "content",
                    "index",
                    "finish_reason",
                    "usage",
                    "message",
                    "text",
                    "response",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "response.output_text.delta",
    "response.output_text.done",
    "response.completed",
    "response.incomplete",
    "ping",
]


@pytest.mark.parametrize("dialect", SEAMS)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.just("delta"), JSON), JSON), max_size=6))
def test_as_long_as_nothing_is_cut_off_bytes_leave_as_they_came(
    dialect: str, told: list[tuple[str, dict[str, Any], Any]]
) -> None:
    seam = SEAMS[dialect]()
    fed = out = b""
    for kind, more, response in told:
        event = encode({"type": kind, **more, "response": response, "choices": response})
        fed += event
        try:
            out += seam.take(Event(event, b"", event[6:-2]))
        except (AttributeError, TypeError, KeyError):
            return  # nonsense: the layer passes everything on from here
        if seam.cut:
            break
    assert out + seam.released() == fed


@pytest.mark.parametrize("dialect", SEAMS)
def test_two_streams_are_one(dialect: str) -> None:
    wire = DIALECTS[dialect]
    first, second = (stream(dialect, text, end) for text, end in ((TEXT[:30], "length"), (TEXT[20:], "stop")))
    seam, framer = SEAMS[dialect](), Framer()
    out = b"".join(seam.take(event) for event in framer.feed(b": hello\n\n" + first))
    assert seam.cut
    assert seam.text == TEXT[:30]
    out += seam.next(Joint(seam.text, prefilled=False))
    out += b"".join(seam.more(event) for event in framer.feed(second)) + seam.end()
    meter = wire.meter(streamed=True)
    meter.feed(out)
    assert meter.finished
    message = meter.message()
    assert message is not None
    assert TEXT in json.dumps(message)
    usage = meter.usage()
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (10, 14)


def stream(dialect: str, text: str, end: str) -> bytes:
    if dialect == "chat":
        usage: Any = {"prompt_tokens": 5, "completion_tokens": 7}
        message = {"id": text, "choices": [{"index": 0, "message": {"content": text}, "finish_reason": end}]}
        body: Any = {"stream_options": {"include_usage": True}}
        return b"".join(DIALECTS["chat"].replay({**message, "usage": usage}, body))
    usage = {"input_tokens": 5, "output_tokens": 7}
    if dialect == "messages":
        reason = {"length": "max_tokens"}.get(end, "end_turn")
        content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]
        told = {"content": content, "stop_reason": reason, "usage": usage}
        return b"".join(DIALECTS["messages"].replay(told, {}))
    status = "incomplete" if end == "length" else "completed"
    why = {"reason": "max_output_tokens"} if end == "length" else None
    item = {"type": "message", "status": status, "content": [{"type": "output_text", "text": text}]}
    told = {"status": status, "incomplete_details": why, "output": [item], "usage": usage}
    return b"".join(DIALECTS["responses"].replay(told, {}))


def test_a_finish_chunk_that_carries_text_loses_none() -> None:
    seam = SEAMS["chat"]()
    chunks = [
        {"id": "a", "choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": None}]},
        {"id": "a", "choices": [{"index": 0, "delta": {"content": " two"}, "finish_reason": "length"}]},
    ]
    out = b"".join(seam.take(event) for event in Framer().feed(b"".join(map(encode, chunks))))
    assert b"two" not in out
    assert b"two" in seam.next(Joint(seam.text, prefilled=False))
    last = {"choices": [{"delta": {"content": "one two three"}, "finish_reason": "stop"}]}
    out = b"".join(seam.more(event) for event in Framer().feed(encode(last)))
    assert seam.text == "one two three"
    assert b"[DONE]" in seam.end()


@pytest.mark.parametrize("dialect", SEAMS)
def test_an_error_in_the_first_stream_passes(dialect: str) -> None:
    seam = SEAMS[dialect]()
    raw = encode({"type": "error", "error": {"message": "no"}}, "error")
    assert seam.take(Framer().feed(raw)[0]) == raw
    assert not seam.cut
    assert seam.take(Framer().feed(raw)[0]) == raw
