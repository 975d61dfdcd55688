"""What one caller reads of a shared answer where its bytes pass a shaper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmsaver.cache.pump import Shared
from llmsaver.cache.reader import Reader
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llmsaver.core.request import Request


class Holding:
    """A shaper that keeps one chunk back."""

    def __init__(self) -> None:
        self.held = b""

    def feed(self, chunk: bytes) -> bytes:
        given, self.held = self.held, chunk
        return given

    def flush(self) -> bytes:
        return self.held


class Body:
    """Three chunks."""

    def __init__(self) -> None:
        self.left = [b"a", b"b", b"c"]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)

    async def aclose(self) -> None:
        """Nothing is open."""


async def read(reader: Reader) -> list[bytes]:
    return [chunk async for chunk in reader]


def test_what_a_shaper_holds_comes_at_the_end(asked: Callable[..., Request]) -> None:
    request = asked(model="m", stream=True)
    shared = Shared(request, lambda _: None)
    first = shared.streaming(Response(200, {"content-type": "text/event-stream"}, body=Body()), request)
    assert shared.board()
    assert drive(first.read()) == b"abc"
    reader = Reader(shared, SyncRuntime(), request, Holding())
    assert drive(read(reader)) == [b"a", b"b", b"c"]
    drive(reader.aclose())
    drive(reader.aclose())
    assert drive(read(reader)) == []
    assert shared._readers == 0


def test_nothing_is_read_after_the_end(asked: Callable[..., Request]) -> None:
    request = asked(model="m", stream=True)
    shared = Shared(request, lambda _: None)
    shared.finish(None)
    assert drive(read(Reader(shared, SyncRuntime(), request, Holding()))) == []
