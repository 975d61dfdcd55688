"""An end to calls that are paid by their time: what was set aside for one must not be overspent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llmsaver.errors import LocalModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.outcome import Body

__all__ = ["TimedBody", "timed"]


def timed(extensions: Mapping[str, Any], deadline: float | None) -> dict[str, Any]:
    """Return a native request's extensions with no timeout that is later than ``deadline`` (monotonic seconds).

    Each is the longest single wait: for an answer that is no stream that is all of it, a stream is ended by
    ``TimedBody`` too.
    """
    if deadline is None:
        return dict(extensions)
    left = max(0.001, deadline - time.monotonic())
    given = extensions.get("timeout") or {}
    names = ("connect", "read", "write", "pool")
    return {**extensions, "timeout": {name: min(left, given.get(name) or left) for name in names}}


class TimedBody:
    """A body that ends with a ``LocalModelError`` once its call's time is over."""

    __slots__ = ("_body", "_deadline", "_model")

    def __init__(self, body: Body, deadline: float, model: str) -> None:
        self._body = body
        self._deadline = deadline
        self._model = model

    def __aiter__(self) -> TimedBody:
        return self

    async def __anext__(self) -> bytes:
        if time.monotonic() > self._deadline:
            raise LocalModelError(
                f"{self._model}: the answer was cut off, since a hard budget around the call pays for no more of the "
                "machine's time: ask for fewer tokens, or raise the budget"
            )
        return await self._body.__anext__()

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._body.aclose()
