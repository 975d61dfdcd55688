"""The messages dialect: Anthropic's Messages and everything that speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.wire import payload
from llmsaver.wire.messages_stream import assemble, merged, replay
from llmsaver.wire.payload import BodyMeter, as_dict, count, parse, usage_of
from llmsaver.wire.streams import PlainShaper, Reading, StreamMeter, StreamShaper, noted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from llmsaver.core.outcome import Meter
    from llmsaver.core.usage import Usage
    from llmsaver.wire.dialect import Shaper
    from llmsaver.wire.sse import Event

__all__ = ["Messages", "messages_usage"]


def messages_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Return the usage of a message; this dialect counts cache reads and writes beside ``input_tokens``."""
    fresh = count(raw.get("input_tokens"))
    read = raw.get("cache_read_input_tokens")
    written = raw.get("cache_creation_input_tokens")
    total = None if fresh is None else fresh + (count(read) or 0) + (count(written) or 0)
    thinking = as_dict(raw.get("output_tokens_details")).get("thinking_tokens")
    return usage_of(raw, total, raw.get("output_tokens"), read=read, written=written, reasoning=thinking)


class MessagesReading(Reading):
    """Reads a messages stream; its end is ``message_stop``, its usage cumulative."""

    __slots__ = ("_raw",)

    def __init__(self) -> None:
        super().__init__()
        self._raw: dict[str, Any] = {}

    def take(self, event: Event) -> None:
        """Note usage and the end."""
        data = event.data
        if b'"message_' not in data and b'"error"' not in data and event.name != b"error":
            return
        said = parse(data) or {}
        kind = said.get("type")
        if kind == "message_start":
            self._raw = dict(as_dict(as_dict(said.get("message")).get("usage")))
        elif kind == "message_delta":
            self._raw = merged(self._raw, as_dict(said.get("usage")))
        elif kind == "message_stop":
            self.ended = True
        elif kind == "error" or event.name == b"error":
            self.ended = self.failed = True

    def usage(self) -> Usage | None:
        """Return the usage of the last event that had one."""
        return messages_usage(self._raw)

    def facts(self) -> dict[str, Any] | None:
        """Return ``message_start``'s message, and the usage of the last event that had one."""
        start = as_dict((parse(self.kept[0]) or {}).get("message")) if self.kept else {}
        return {**start, "usage": self._raw} if start else None

    def message(self) -> dict[str, Any] | None:
        """Return the answer in its unstreamed shape."""
        return assemble(self.kept)


class MessagesShaper(StreamShaper):
    """Puts the note into ``message_start``'s message, where SDKs keep it, and on ``message_stop``, when it is final."""

    __slots__ = ("_note",)

    def __init__(self, note: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._note = note

    def _shape(self, event: Event) -> bytes:
        if b'"message_st' not in event.data:
            return event.raw
        kind = (parse(event.data) or {}).get("type")
        if kind == "message_start":
            return noted(event, self._note, "message")
        return noted(event, self._note) if kind == "message_stop" else event.raw


class Messages:
    """Messages: content blocks; streams of typed events from ``message_start`` to ``message_stop``."""

    name = "messages"
    local_path = "/v1/messages"

    def meter(self, streamed: bool) -> Meter:
        """Return a fresh reader of one answer."""
        return StreamMeter(MessagesReading()) if streamed else BodyMeter(messages_usage)

    def with_usage(self, body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002 - the protocol's shape
        """Return None: these streams always say their usage."""
        return None

    def annotate(self, content: bytes, note: Mapping[str, Any]) -> bytes:
        """Return the answer with a top-level ``llmsaver`` key."""
        return payload.annotate(content, note)

    def shaper(self, *, hide_usage: bool, note: Callable[[], Mapping[str, Any]] | None) -> Shaper:  # noqa: ARG002 - the protocol's shape
        """Return a fresh filter for one stream; there is no usage chunk to hide."""
        return MessagesShaper(note) if note else PlainShaper()

    def replay(self, message: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[bytes]:  # noqa: ARG002 - the protocol's shape
        """Yield the answer as events."""
        return replay(message)
