"""Server-sent events against the standard and both SDKs."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from anthropic._streaming import SSEDecoder as AnthropicDecoder
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder as OpenAIDecoder

from llmsaver.wire.sse import Event, Framer, encode, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable

BOM = b"\xef\xbb\xbf"

# Bytes out of which every rule of the format can be hit, and every way of cutting them.
wild = st.lists(
    st.sampled_from(
        [b"data", b"event", b":", b" ", b"\n", b"\r", b"\r\n", b"x", b"[DONE]", BOM, b"\xff", b"\0", b"id"]
    ),
    max_size=30,
).map(b"".join)


def cut(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({c % (len(body) + 1) for c in cuts}), len(body)]
    return [body[a:b] for a, b in pairwise(edges)]


def frames(chunks: Iterable[bytes]) -> tuple[list[Event], bytes]:
    framer = Framer()
    events = [event for chunk in chunks for event in framer.feed(chunk)]
    return events, framer.rest()


def whatwg(body: bytes) -> list[tuple[bytes, bytes]]:
    """Parse as the standard says, line by line, over a whole body; the events that have data."""
    events = []
    name, data = b"", list[bytes]()
    lines = body.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for line in lines[:-1]:
        if not line:
            if data:
                events.append((name, b"\n".join(data)))
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


@given(wild, st.lists(st.integers(0, 200), max_size=8))
def test_any_split_gives_the_same_events_and_loses_no_byte(body: bytes, cuts: list[int]) -> None:
    events, rest = frames(cut(body, cuts))
    assert (events, rest) == frames([body])
    assert b"".join(event.raw for event in events) + rest == body
    assert (events, rest) == frames([body[i : i + 1] for i in range(len(body))])


@given(wild)
def test_events_are_those_of_the_standard(body: bytes) -> None:
    # One more byte decides whether a CR that ends the body was half of a CR LF.
    events, _ = frames([body, b"x"])
    assert [(e.name, e.data) for e in events if b"data" in e.raw and has_data(e)] == whatwg(body)


def has_data(event: Event) -> bool:
    lines = event.raw.removeprefix(BOM).splitlines()
    return any(line.partition(b":")[0] == b"data" for line in lines)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "message_start", "response.created"]),
            st.lists(
                st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=9), min_size=1
            ),
        ),
        max_size=5,
    ),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 300), max_size=5),
)
def test_the_sdks_read_the_same_events(events: list[tuple[str, list[str]]], end: bytes, cuts: list[int]) -> None:
    blocks = []
    for name, lines in events:
        head = [f"event: {name}".encode()] if name else [b": comment"]
        blocks.append(end.join([*head, *(b"data: " + line.encode() for line in lines), b"", b""]))
    body = b"".join(blocks)
    ours = [(event.name.decode() or None, event.data.decode()) for event in frames([*cut(body, cuts), b"x"])[0]]
    assert ours == [(e.event, e.data) for e in OpenAIDecoder().iter_bytes(iter(cut(body, cuts)))]
    named = [(n, d) for n, d in ours if n or d]
    assert named == [(e.event, e.data) for e in AnthropicDecoder().iter_bytes(iter([body])) if e.event or e.data]


@pytest.mark.parametrize(
    ("body", "name", "data"),
    [
        (b"data: x\n\n", b"", b"x"),
        (b"data:x\n\n", b"", b"x"),
        (b"data:  x\n\n", b"", b" x"),
        (b"data\n\n", b"", b""),
        (b"data: a\ndata: b\n\n", b"", b"a\nb"),
        (b"data: a\r\ndata: b\r\n\r\n", b"", b"a\nb"),
        (b"event: e\ndata: x\n\n", b"e", b"x"),
        (b"data: x\nevent: e\n\n", b"e", b"x"),
        (b"event: e\nevent: f\ndata: x\n\n", b"f", b"x"),
        (b"event: e\r\ndata: x\r\n\r\n", b"e", b"x"),
        (b": comment\n\n", b"", b""),
        (b": data: no\ndata: yes\nretry: 3\n\n", b"", b"yes"),
        (BOM + b"data: x\n\n", b"", b"x"),
        (b"event: e\n: c\n\n", b"e", b""),
        (b"data: a\rb\n\n", b"", b"a"),
        (b"event: e\rdata: x\n\n", b"e", b"x"),
    ],
)
def test_one_event(body: bytes, name: bytes, data: bytes) -> None:
    assert frames([body]) == ([Event(body, name, data)], b"")


def test_a_byte_order_mark_counts_only_at_the_start() -> None:
    events, _ = frames([b"data: x\n\n" + BOM + b"data: y\n\n"])
    assert [event.data for event in events] == [b"x", b""]


def test_what_never_ended_is_pending() -> None:
    framer = Framer()
    assert framer.pending() is None
    framer.feed(b"event: e\ndata: x")
    assert framer.pending() == Event(b"event: e\ndata: x", b"e", b"x")
    assert framer.rest() == b"event: e\ndata: x"


def test_a_huge_event_in_tiny_pieces_takes_linear_time() -> None:
    def seconds(size: int) -> float:
        framer = Framer()
        started = time.thread_time()
        for _ in range(size):
            framer.feed(b"x" * 16)
        assert len(framer.feed(b"\n\n")) == 1
        return time.thread_time() - started

    small = min(seconds(5_000) for _ in range(3))
    # 16 times the bytes: 256 times the time where every piece looks at all that came before.
    assert min(seconds(80_000) for _ in range(2)) < 80 * small


def test_encode_carries_any_text_on_one_line() -> None:
    payload = {"text": "é\r\n\u2028\ud800", "n": 1}
    [event] = Framer().feed(encode(payload, "e"))
    assert event.name == b"e"
    assert json.loads(event.data) == payload
    assert encode({"a": "é"}) == 'data: {"a":"é"}\n\n'.encode()


@given(st.text(), st.integers(1, 5))
def test_pieces_are_the_text(text: str, size: int) -> None:
    assert "".join(pieces(text, size)) == text
