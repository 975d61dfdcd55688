"""What is known of an answer: the protocols of its bytes and of their reader, and how it ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from llmsaver.core.usage import Usage

__all__ = ["Body", "Given", "Meter", "Outcome"]

log = logging.getLogger("llmsaver")


class Body(Protocol):
    """Bytes that arrive over time; ``aclose`` gives the connection back."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return itself."""

    async def __anext__(self) -> bytes:
        """Return the next chunk as it came from the wire."""

    async def aclose(self) -> None:
        """Stop reading; may be called again."""


class Meter(Protocol):
    """Reads an answer as it flows: the dialect's knowledge, injected so that core needs none."""

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes; return True once the terminal event has been seen in full."""

    @property
    def finished(self) -> bool:
        """Whether what was fed is a whole answer."""

    def usage(self) -> Usage | None:
        """Return what the provider reported so far."""

    def message(self) -> dict[str, Any] | None:
        """Return the answer as one JSON object of its dialect, assembled from events where it was streamed."""

    def facts(self) -> dict[str, Any] | None:
        """Return what the answer says of its own terms (model, service tier, tools), without assembling all of it."""


class Outcome:
    """How an answer ended.

    ``complete``: the terminal event (or the whole body) of a successful answer arrived. ``error`` says in words what
    cut it short. ``message`` is assembled at first use and may be partial where ``complete`` is False.
    """

    __slots__ = ("_meter", "complete", "error", "status", "usage")

    def __init__(self, meter: Meter | None, status: int, error: str | None) -> None:
        whole, self.usage = True, None
        if meter is not None:
            # Nonsense from a provider costs us the reading, never the caller the answer.
            try:
                whole = meter.finished
            except Exception:
                whole = False
                log.warning("llmsaver: a provider's payload could not be read", exc_info=True)
            try:
                self.usage = meter.usage()
            except Exception:
                log.warning("llmsaver: a provider's payload could not be read", exc_info=True)
        ok = 200 <= status < 300  # noqa: PLR2004 - HTTP's success range
        if error is None and ok and not whole:
            error = "ended without a whole answer"
        self._meter = meter
        self.status = status
        self.complete = ok and error is None
        self.error = error

    @property
    def message(self) -> dict[str, Any] | None:
        """The answer as one JSON object of its dialect, or None where none can be made."""
        return self._read("message")

    @property
    def facts(self) -> dict[str, Any] | None:
        """What the answer says of its own terms: model, service tier, tools; None where it says nothing."""
        return self._read("facts")

    def _read(self, what: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] | None = getattr(self._meter, what)() if self._meter else None
        except Exception:
            log.warning("llmsaver: a provider's payload could not be read", exc_info=True)
            return None
        return found


class Given:
    """The meter of an answer that a layer made: it is what it is, and used nothing."""

    __slots__ = ("_message",)
    finished = True

    def __init__(self, message: Mapping[str, Any]) -> None:
        self._message = message

    def feed(self, chunk: bytes) -> bool:  # noqa: ARG002 - nothing has to be read to know it
        """Learn nothing."""
        return False

    def usage(self) -> None:
        """Nothing was used."""

    def message(self) -> dict[str, Any]:
        """Return the answer."""
        return dict(self._message)

    def facts(self) -> dict[str, Any]:
        """Return the answer."""
        return dict(self._message)
