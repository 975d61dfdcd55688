"""Events to bytes: SSE framing, compression per event, and chunks cut anywhere."""

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from llmsaver.testing.answer import Delivery
from llmsaver.testing.text import dumps

_GZIP = 31  # zlib's window bits for a gzip header and trailer
_RANDOM_MAX = 40


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `data` is JSON-encoded unless it is a string, `tokens` is the output it carries."""

    data: object
    name: str | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes that belong together on the wire, and the output tokens they carry."""

    data: bytes
    tokens: int = 0


def sse(events: Sequence[Event], delivery: Delivery) -> list[Frame]:
    """Frame events as the vendors do: an optional `event:` line, one `data:` line, a blank line."""
    end = delivery.newline.encode()
    frames = []
    for event in events:
        comment = b": keep-alive" + end * 2 if delivery.comments else b""
        name = b"event: " + event.name.encode() + end if event.name else b""
        data = event.data.encode() if isinstance(event.data, str) else dumps(event.data)
        frames.append(Frame(comment + name + b"data: " + data + end * 2, event.tokens))
    return frames


def compress(frames: Sequence[Frame], *, finish: bool) -> list[Frame]:
    """Gzip each frame so that it can be read when it arrives; an unfinished stream has no trailer."""
    packer = zlib.compressobj(wbits=_GZIP)
    packed = [Frame(packer.compress(frame.data) + packer.flush(zlib.Z_SYNC_FLUSH), frame.tokens) for frame in frames]
    return [*packed, Frame(packer.flush())] if finish else packed


def split(frames: Sequence[Frame], delivery: Delivery) -> Iterator[bytes]:
    """Cut frames into the chunks a client receives; joined they are the frames again."""
    chunking = delivery.chunking
    if chunking == "event":
        yield from (frame.data for frame in frames)
        return
    body = b"".join(frame.data for frame in frames)
    if chunking == "one":
        yield from [body] if body else []
        return
    sizes = (
        _random_sizes(chunking)
        if isinstance(chunking, random.Random)
        else repeat(1 if chunking == "byte" else chunking)
    )
    start = 0
    while start < len(body):
        size = next(sizes)
        yield body[start : start + size]
        start += size


def _random_sizes(source: random.Random) -> Iterator[int]:
    # A copy, so that each body is cut alike whatever the order in which threads ask.
    own = random.Random()  # noqa: S311 - where a body is cut is no secret
    own.setstate(source.getstate())
    while True:
        yield own.randint(1, _RANDOM_MAX)
