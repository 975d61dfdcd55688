"""Framing: whatever the chunking, line ending and compression, the bytes are the same."""

import gzip
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.testing import Delivery
from llmsaver.testing.frames import Event, Frame, compress, split, sse

frames_of = st.lists(st.binary(max_size=30), max_size=8).map(lambda parts: [Frame(part, 1) for part in parts])
chunkings = st.one_of(st.sampled_from(["event", "byte", "one"]), st.integers(1, 50), st.integers().map(random.Random))


@given(frames_of, chunkings)
def test_chunks_join_to_the_frames(frames: list[Frame], chunking: Any) -> None:
    whole = b"".join(frame.data for frame in frames)
    chunks = list(split(frames, Delivery(chunking)))
    assert b"".join(chunks) == whole
    if isinstance(chunking, int):
        assert all(len(chunk) == chunking for chunk in chunks[:-1])
    if chunking == "byte":
        assert len(chunks) == len(whole)
    # The same seed cuts the same way, however often it is used.
    assert chunks == list(split(frames, Delivery(chunking)))


@given(frames_of.filter(bool))
def test_compressed_frames_can_be_read_one_by_one(frames: list[Frame]) -> None:
    packed = compress(frames, finish=True)
    assert gzip.decompress(b"".join(frame.data for frame in packed)) == b"".join(frame.data for frame in frames)
    assert sum(frame.tokens for frame in packed) == len(frames)
    assert len(compress(frames, finish=False)) == len(frames)


@given(st.lists(st.tuples(st.text(), st.sampled_from([None, "ping"])), max_size=5), st.booleans())
def test_any_text_survives_framing(texts: list[tuple[str, str | None]], comments: bool) -> None:
    events = [Event({"text": text}, name) for text, name in texts]
    body = b"".join(frame.data for frame in sse(events, Delivery(newline="\r\n", comments=comments))).decode()
    assert body.count("\r\n\r\n") == len(texts) * (1 + comments)
    assert body.count("\r\ndata: ") + body.startswith("data: ") == len(texts)
    assert body.count("event: ping\r\n") == sum(name is not None for _, name in texts)
    assert body.replace("\r\n", "").count("\n") == 0
