"""A call that is paid by its time ends with it: whole answers by their timeouts, streams by their chunks."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from llmsaver.clients import time_limit
from llmsaver.clients.time_limit import TimedBody, timed
from llmsaver.core.runtime import drive
from llmsaver.errors import LocalModelError


class Chunks:
    """A body that never ends by itself."""

    closed = False

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        return b"x"

    async def aclose(self) -> None:
        self.closed = True


def test_no_wait_is_longer_than_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "time", SimpleNamespace(monotonic=lambda: 100.0))
    given = {"timeout": {"connect": 5.0, "read": 600.0, "write": None}, "trace": 1}
    limited = timed(given, 110.0)
    assert limited["trace"] == 1
    assert limited["timeout"] == {
        "connect": 5.0,
        "read": 10.0,
        "write": 10.0,
        "pool": 10.0,
    }
    assert timed({}, 99.0)["timeout"]["read"] == 0.001
    assert timed(given, None) == given


def test_a_stream_is_cut_off_when_its_time_is_over() -> None:
    chunks = Chunks()

    async def consume(body: Any) -> list[bytes]:
        return [chunk async for chunk in body]

    began = time.monotonic()
    with pytest.raises(LocalModelError, match="local/small: the answer was cut off"):
        drive(consume(TimedBody(chunks, began + 0.05, "local/small")))
    assert 0.05 <= time.monotonic() - began < 60.0
    drive(TimedBody(chunks, began, "local/small").aclose())
    assert chunks.closed
