"""The chat dialect: OpenAI's Chat Completions and everything that speaks it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmsaver.wire import payload
from llmsaver.wire.chat_stream import assemble, finished, replay
from llmsaver.wire.payload import BodyMeter, as_dict, parse, usage_of
from llmsaver.wire.streams import PlainShaper, Reading, StreamMeter, StreamShaper, noted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from llmsaver.core.outcome import Meter
    from llmsaver.core.usage import Usage
    from llmsaver.wire.dialect import Shaper
    from llmsaver.wire.sse import Event

__all__ = ["Chat", "chat_usage"]

_DONE = b"[DONE]"
# A key whose value is not null. In a model's text the quotes are escaped, so a match is a key; possessive, or the
# blank after the colon would pass for a value.
_USAGE = re.compile(rb'"usage"\s*+:\s*+(?!null)')
_FINISH = re.compile(rb'"finish_reason"\s*+:\s*+(?!null)')


def chat_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Return the usage of a chat answer; its totals already include cached, written, audio and reasoning tokens."""
    read = as_dict(raw.get("prompt_tokens_details"))
    written = as_dict(raw.get("completion_tokens_details"))
    return usage_of(
        raw,
        raw.get("prompt_tokens"),
        raw.get("completion_tokens"),
        read=read.get("cached_tokens"),
        written=read.get("cache_write_tokens"),
        reasoning=written.get("reasoning_tokens"),
    )


class ChatReading(Reading):
    """Reads a chat stream; its end is ``data: [DONE]``, or where a server sends none, all choices being finished."""

    __slots__ = ("_usage",)

    def __init__(self) -> None:
        super().__init__()
        self._usage: Usage | None = None

    def take(self, event: Event) -> None:
        """Note usage and the end."""
        data = event.data
        if data.startswith(_DONE):
            self.ended = True
            return
        if b'"usage"' in data and _USAGE.search(data):
            chunk = parse(data) or {}
            self._usage = chat_usage(as_dict(chunk.get("usage"))) or self._usage
        if is_error(event):
            self.ended = self.failed = True

    def whole(self) -> bool:
        """Whether the end came, or every choice has its finish reason."""
        return not self.failed and (self.ended or finished(self.kept))

    def usage(self) -> Usage | None:
        """Return the usage of the last event that had one."""
        return self._usage

    def facts(self) -> dict[str, Any] | None:
        """Return the last chunk, which says as much of its terms as any."""
        last = next((parse(data) for data in reversed(self.kept) if not data.startswith(_DONE)), None)
        return last if last is None else {key: value for key, value in last.items() if key != "choices"}

    def message(self) -> dict[str, Any] | None:
        """Return the answer in its unstreamed shape."""
        return assemble(self.kept)


def is_error(event: Event) -> bool:
    """Whether an event of OpenAI's streams says that the answer failed, as OpenAI's SDK judges it."""
    if event.name == b"error":
        return True
    return b'"error"' in event.data and bool((parse(event.data) or {}).get("error"))


class ChatShaper(StreamShaper):
    """Drops the usage chunk, or puts the note on the last chunk, which may be held until it is known to be the last.

    Only a chunk that ends something waits: one with a finish reason, and what follows it without content.
    """

    __slots__ = ("_held", "_hide", "_note")

    def __init__(self, *, hide_usage: bool, note: Callable[[], Mapping[str, Any]] | None) -> None:
        super().__init__()
        self._hide = hide_usage
        self._note = note
        self._held: Event | None = None

    def flush(self) -> bytes:
        """Return the held chunk with the note, and an event that never ended."""
        return self._last() + super().flush()

    def _shape(self, event: Event) -> bytes:
        raw, _, data = event
        if self._hide and b'"usage"' in data and _USAGE.search(data) and _only_usage(data):
            return b""
        if self._note is None or not data:
            return raw
        if data.startswith(_DONE):
            return self._last() + raw
        if self._held is None and not _FINISH.search(data) and not _USAGE.search(data):
            return raw
        before = self._held.raw if self._held is not None else b""
        if is_error(event) or not _ends(data):
            self._held = None
            return before + raw
        self._held = event
        return before

    def _last(self) -> bytes:
        held, self._held = self._held, None
        return noted(held, self._note) if held is not None and self._note is not None else b""


def _only_usage(data: bytes) -> bool:
    chunk = parse(data) or {}
    return chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)


def _ends(data: bytes) -> bool:
    """Whether a chunk may be the last of its stream: every choice in it is finished or brings no content."""
    choices = (parse(data) or {}).get("choices")
    if not isinstance(choices, list):
        return False
    for choice in map(as_dict, choices):
        delta = as_dict(choice.get("delta"))
        if choice.get("finish_reason") is None and any(value for key, value in delta.items() if key != "role"):
            return False
    return True


class Chat:
    """Chat Completions: ``choices`` with a message each; streams of chunks, then ``[DONE]``."""

    name = "chat"
    local_path = "/v1/chat/completions"

    def meter(self, streamed: bool) -> Meter:
        """Return a fresh reader of one answer."""
        return StreamMeter(ChatReading()) if streamed else BodyMeter(chat_usage)

    def with_usage(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a copy that asks for the usage chunk, where a stream was asked for without it."""
        options = body.get("stream_options") or {}
        if body.get("stream") is not True or not isinstance(options, dict) or options.get("include_usage"):
            return None
        return {**body, "stream_options": {**options, "include_usage": True}}

    def annotate(self, content: bytes, note: Mapping[str, Any]) -> bytes:
        """Return the answer with a top-level ``llmsaver`` key."""
        return payload.annotate(content, note)

    def shaper(self, *, hide_usage: bool, note: Callable[[], Mapping[str, Any]] | None) -> Shaper:
        """Return a fresh filter for one stream."""
        return ChatShaper(hide_usage=hide_usage, note=note) if hide_usage or note else PlainShaper()

    def replay(self, message: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the answer as chunks."""
        return replay(message, body)
