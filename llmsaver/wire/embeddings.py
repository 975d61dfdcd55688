"""The embeddings dialect: OpenAI's Embeddings and everything that speaks it; it never streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.wire import payload
from llmsaver.wire.payload import BodyMeter, usage_of
from llmsaver.wire.streams import PlainShaper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from llmsaver.core.outcome import Meter
    from llmsaver.core.usage import Usage
    from llmsaver.wire.dialect import Shaper

__all__ = ["Embeddings", "embeddings_usage"]


def embeddings_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Return the usage of an embeddings answer: input only."""
    return usage_of(raw, raw.get("prompt_tokens"), 0, read=0, written=0, reasoning=0)


class Embeddings:
    """Embeddings: one JSON body with a vector per input."""

    name = "embeddings"
    local_path = "/v1/embeddings"

    def meter(self, streamed: bool) -> Meter:  # noqa: ARG002 - the protocol's shape
        """Return a fresh reader of one answer."""
        return BodyMeter(embeddings_usage)

    def with_usage(self, body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002 - the protocol's shape
        """Return None: the body always says its usage."""
        return None

    def annotate(self, content: bytes, note: Mapping[str, Any]) -> bytes:
        """Return the answer with a top-level ``llmsaver`` key."""
        return payload.annotate(content, note)

    def shaper(self, *, hide_usage: bool, note: Callable[[], Mapping[str, Any]] | None) -> Shaper:  # noqa: ARG002 - the protocol's shape
        """Return a filter that changes nothing."""
        return PlainShaper()

    def replay(self, message: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[bytes]:  # noqa: ARG002 - the protocol's shape
        """Yield nothing: there is no such stream."""
        return iter(())
