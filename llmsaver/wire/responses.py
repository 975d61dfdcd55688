"""The responses dialect: OpenAI's Responses and everything that speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.wire import payload
from llmsaver.wire.payload import BodyMeter, as_dict, parse, usage_of
from llmsaver.wire.responses_stream import TERMINAL, assemble, replay
from llmsaver.wire.streams import PlainShaper, Reading, StreamMeter, StreamShaper, noted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from llmsaver.core.outcome import Meter
    from llmsaver.core.usage import Usage
    from llmsaver.wire.dialect import Shaper
    from llmsaver.wire.sse import Event

__all__ = ["Responses", "responses_usage"]


def responses_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Return the usage of a response; its totals already include cached, written and reasoning tokens."""
    read = as_dict(raw.get("input_tokens_details"))
    written = as_dict(raw.get("output_tokens_details"))
    return usage_of(
        raw,
        raw.get("input_tokens"),
        raw.get("output_tokens"),
        read=read.get("cached_tokens"),
        written=read.get("cache_write_tokens"),
        reasoning=written.get("reasoning_tokens"),
    )


def _terminal(data: bytes) -> bool:
    """Whether the bytes of an event may be its stream's last; ordinary deltas answer no in a few searches."""
    return b'"response.completed"' in data or b'"response.incomplete"' in data or b'"response.failed"' in data


class ResponsesReading(Reading):
    """Reads a responses stream; a failed response has ended, and may have a usage, but is no answer."""

    __slots__ = ("_usage",)

    def __init__(self) -> None:
        super().__init__()
        self._usage: Usage | None = None

    def take(self, event: Event) -> None:
        """Note usage and the end."""
        data = event.data
        if data.startswith(b"[DONE]"):
            # Some servers add chat's end; without a terminal event before it, no answer arrived.
            self.ended = self.failed = True
            return
        if not _terminal(data) and b'"error"' not in data and event.name != b"error":
            return
        said = parse(data) or {}
        kind = said.get("type")
        if kind in TERMINAL:
            self.ended = True
            self.failed = kind == "response.failed"
            self._usage = responses_usage(as_dict(as_dict(said.get("response")).get("usage")))
        elif kind == "error" or event.name == b"error" or (said.get("error") and not kind):
            self.ended = self.failed = True

    def usage(self) -> Usage | None:
        """Return the usage of the last event that had one."""
        return self._usage

    def message(self) -> dict[str, Any] | None:
        """Return the answer in its unstreamed shape."""
        return assemble(self.kept)


class ResponsesShaper(StreamShaper):
    """Puts the note into the response that the terminal event carries."""

    __slots__ = ("_note",)

    def __init__(self, note: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._note = note

    def _shape(self, event: Event) -> bytes:
        if _terminal(event.data) and (parse(event.data) or {}).get("type") in TERMINAL:
            return noted(event, self._note, "response")
        return event.raw


class Responses:
    """Responses: output items; streams of numbered events up to completed, incomplete or failed."""

    name = "responses"
    local_path = "/v1/responses"

    def meter(self, streamed: bool) -> Meter:
        """Return a fresh reader of one answer."""
        return StreamMeter(ResponsesReading()) if streamed else BodyMeter(responses_usage)

    def with_usage(self, body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002 - the protocol's shape
        """Return None: these streams always say their usage."""
        return None

    def annotate(self, content: bytes, note: Mapping[str, Any]) -> bytes:
        """Return the answer with a top-level ``llmsaver`` key."""
        return payload.annotate(content, note)

    def shaper(self, *, hide_usage: bool, note: Callable[[], Mapping[str, Any]] | None) -> Shaper:  # noqa: ARG002 - the protocol's shape
        """Return a fresh filter for one stream; there is no usage chunk to hide."""
        return ResponsesShaper(note) if note else PlainShaper()

    def replay(self, message: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[bytes]:  # noqa: ARG002 - the protocol's shape
        """Yield the answer as events."""
        return replay(message)
