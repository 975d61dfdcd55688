"""Several streams as one: each dialect's events with the answer's end held back until it is known to be the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from llmsaver.prompt.continuing import summed
from llmsaver.prompt.continuing_responses import ResponsesSeam, typed_event
from llmsaver.wire.payload import as_dict, as_list, parse
from llmsaver.wire.sse import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.prompt.continuing import Joint
    from llmsaver.wire.sse import Event

__all__ = ["SEAMS", "Seam"]

_PER_CHUNK: Final = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
_COUNTS: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


class Seam(Protocol):
    """One answer made of several streams of a dialect.

    ``text``: what the caller has been told; ``cut``: whether the stream that has ended did so for length, in a way that
    can be gone on with. As long as the first stream may be all, what leaves is what came, byte for byte.
    """

    text: str
    cut: bool

    def take(self, event: Event) -> bytes:
        """Take an event of the first stream; return what may go out."""

    def released(self) -> bytes:
        """Return what is held of the first stream, which is all there will be."""

    def next(self, joint: Joint) -> bytes:
        """Begin another stream; return what must go out before it."""

    def more(self, event: Event) -> bytes:
        """Take an event of a later stream; return what may go out."""

    def end(self) -> bytes:
        """Return the end of an answer of more than one stream, its usage that of all."""


class _ChatSeam:
    """Chunks under the first stream's id; the finish reason, the usage and ``[DONE]`` come once."""

    def __init__(self) -> None:
        self.text = ""
        self.cut = False
        self._held: list[bytes] = []
        self._late = ""
        self._other = False
        self._passing = False
        self._frame: dict[str, Any] = {}
        self._usage: Any = None
        self._reason = "length"
        self._joint: Joint | None = None

    def take(self, event: Event) -> bytes:
        if self._passing or not event.data:
            return event.raw
        chunk = parse(event.data)
        if chunk is not None:
            self._frame = chunk if chunk.get("choices") else self._frame
            self._usage = summed(self._usage, chunk.get("usage"))
            self._note(chunk)
        if chunk is not None and (chunk.get("error") or event.name == b"error"):
            self.cut = False
            self._passing = True
        if not self.cut:
            return self.released() + event.raw
        self._held.append(event.raw)
        return b""

    def _note(self, chunk: Mapping[str, Any]) -> None:
        for choice in map(as_dict, as_list(chunk.get("choices"))):
            delta = as_dict(choice.get("delta"))
            content, reason = delta.get("content"), choice.get("finish_reason")
            self._other = self._other or bool(choice.get("index"))
            self._other = self._other or any(delta.get(k) for k in ("tool_calls", "function_call", "refusal", "audio"))
            self.text += content if isinstance(content, str) else ""
            if reason is not None:
                self.cut = reason == "length" and bool(self.text) and not self._other
                self._passing = not self.cut
                self._late = content if isinstance(content, str) else ""

    def released(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held

    def next(self, joint: Joint) -> bytes:
        said, self._late = self._said(self._late), ""
        self._joint = joint
        self.cut = False
        self._reason = "length"
        return said

    def more(self, event: Event) -> bytes:
        chunk = parse(event.data) or {}
        self._usage = summed(self._usage, chunk.get("usage"))
        out = b""
        for choice in map(as_dict, as_list(chunk.get("choices"))):
            content = as_dict(choice.get("delta")).get("content")
            if isinstance(content, str) and self._joint is not None:
                out += self._told(self._joint.feed(content))
            if (reason := choice.get("finish_reason")) is not None:
                out += self._told(self._joint.flush() if self._joint is not None else "")
                self._reason, self.cut = reason, reason == "length"
        return out

    def _told(self, text: str) -> bytes:
        self.text += text
        return self._said(text)

    def _said(self, text: str) -> bytes:
        return self._chunk({"delta": {"content": text}, "finish_reason": None}) if text else b""

    def _chunk(self, choice: Mapping[str, Any] | None, **more: Any) -> bytes:
        frame: dict[str, Any] = {key: self._frame[key] for key in _PER_CHUNK if key in self._frame}
        empty = {"usage": None} if "usage" in self._frame else {}
        choices = [] if choice is None else [{"index": 0, "logprobs": None, **choice}]
        return encode({**frame, "choices": choices, **empty, **more})

    def end(self) -> bytes:
        left = self._told(self._joint.flush() if self._joint is not None else "")
        last = self._chunk({"delta": {}, "finish_reason": self._reason})
        usage = self._chunk(None, usage=self._usage) if self._usage is not None else b""
        return left + last + usage + b"data: [DONE]\n\n"


class _MessagesSeam:
    """Text goes on in the last text block; its stop, the message's delta and its stop come once."""

    def __init__(self) -> None:
        self.text = ""
        self.cut = False
        self._held: list[bytes] = []
        self._other = False
        self._passing = False
        self._kind = ""
        self._index = 0
        self._before: Any = None
        self._usage: dict[str, Any] = {}
        self._delta: dict[str, Any] = {}
        self._joint: Joint | None = None

    def take(self, event: Event) -> bytes:
        if self._passing or not event.data:
            return event.raw
        said = parse(event.data) or {}
        kind = said.get("type")
        if kind == "content_block_start":
            self._kind, self._index = str(as_dict(said.get("content_block")).get("type")), said.get("index") or 0
            self._other = self._other or self._kind not in {"text", "thinking", "redacted_thinking"}
        elif kind == "content_block_delta":
            text = self._text(said)
            self.text += text or ""
            self._other = self._other or as_dict(said.get("delta")).get("type") == "citations_delta"
        elif kind == "content_block_stop":
            out = self.released()
            self._held = [event.raw]
            return out
        elif kind == "message_start":
            self._usage = dict(as_dict(as_dict(said.get("message")).get("usage")))
        elif kind == "message_delta":
            self._close(said)
            whole = self._kind == "text" and bool(self.text) and not self._other
            self.cut = self.cut and whole
            self._passing = not self.cut
        elif kind == "error":
            self.cut, self._passing = False, True
        if not self.cut and not (kind == "ping" and self._held):
            return self.released() + event.raw
        self._held.append(event.raw)
        return b""

    @staticmethod
    def _text(said: Mapping[str, Any]) -> str | None:
        delta = as_dict(said.get("delta"))
        text = delta.get("text")
        return text if delta.get("type") == "text_delta" and isinstance(text, str) else None

    def _close(self, said: Mapping[str, Any]) -> None:
        self._delta = as_dict(said.get("delta"))
        told = {key: value for key, value in as_dict(said.get("usage")).items() if value is not None}
        self._usage = {**self._usage, **told}
        self.cut = self._delta.get("stop_reason") == "max_tokens"

    def released(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held

    def next(self, joint: Joint) -> bytes:
        self._joint = joint
        self.cut = False
        self._before, self._usage = summed(self._before, self._usage), {}
        self._delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        return b""

    def more(self, event: Event) -> bytes:
        said = parse(event.data) or {}
        kind = said.get("type")
        if kind == "message_start":
            self._usage = dict(as_dict(as_dict(said.get("message")).get("usage")))
        elif kind == "message_delta":
            self._close(said)
            return self._told(self._joint.flush() if self._joint is not None else "")
        elif kind == "content_block_delta" and (text := self._text(said)) and self._joint is not None:
            return self._told(self._joint.feed(text))
        return b""

    def _told(self, text: str) -> bytes:
        self.text += text
        if not text:
            return b""
        return typed_event("content_block_delta", index=self._index, delta={"type": "text_delta", "text": text})

    def end(self) -> bytes:
        left = self._told(self._joint.flush() if self._joint is not None else "")
        total = summed(self._before, self._usage)
        usage = {key: total[key] for key in (*_COUNTS, "output_tokens_details", "server_tool_use") if key in total}
        stop = typed_event("content_block_stop", index=self._index)
        return left + stop + typed_event("message_delta", delta=self._delta, usage=usage) + typed_event("message_stop")


SEAMS: Final[Mapping[str, type[Seam]]] = {
    "chat": _ChatSeam,
    "responses": ResponsesSeam,
    "messages": _MessagesSeam,
}
