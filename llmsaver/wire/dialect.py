"""What the rest of the library knows about a provider's wire format, and nothing else of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from llmsaver.core.outcome import Meter

__all__ = ["Dialect", "Shaper"]


class Shaper(Protocol):
    """What a stream passes through on its way to the caller; bytes it does not change leave as they came."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and return those that may go out now (``b""`` where all are held)."""

    def flush(self) -> bytes:
        """Return what was held, at the end of the body."""


class Dialect(Protocol):
    """One wire format: how to read its answers, annotate them and tell them as a stream."""

    @property
    def name(self) -> str:
        """``chat``, ``responses``, ``messages`` or ``embeddings``."""

    @property
    def local_path(self) -> str:
        """The path under which a local server speaks this dialect."""

    def meter(self, streamed: bool) -> Meter:
        """Return a fresh reader of one answer: SSE where ``streamed``, else one JSON body, in any pieces."""

    def with_usage(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a copy of a request that asks for its usage where it did not and must, else None."""

    def annotate(self, content: bytes, note: Mapping[str, Any]) -> bytes:
        """Return a JSON answer with a top-level ``llmsaver`` key and every other byte unchanged.

        What is not a JSON object in UTF-8, or a note that is not JSON, returns ``content`` as it is.
        """

    def shaper(self, *, hide_usage: bool, note: Callable[[], Mapping[str, Any]] | None) -> Shaper:
        """Return a fresh filter for one stream.

        ``hide_usage`` drops the usage chunk that ``with_usage`` asked for; ``note`` is called as late as the dialect
        allows and shown under ``llmsaver``.
        """

    def replay(self, message: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield a whole JSON answer as the events its provider would stream for ``body``, one bytes object each."""
