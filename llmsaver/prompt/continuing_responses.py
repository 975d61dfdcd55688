"""Several streams of the responses dialect as one: its events close each part, and the response, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.prompt.continuing import cut_text, joined
from llmsaver.wire.payload import as_dict, parse
from llmsaver.wire.responses_stream import TERMINAL
from llmsaver.wire.sse import encode

if TYPE_CHECKING:
    from llmsaver.prompt.continuing import Joint
    from llmsaver.wire.sse import Event

__all__ = ["ResponsesSeam", "typed_event"]


class ResponsesSeam:
    """Text goes on in the last part; the events that close it, and the response itself, come once. See ``Seam``."""

    def __init__(self) -> None:
        self.text = ""
        self.cut = False
        self._held: list[Event] = []
        self._passing = False
        self._sequence = -1
        self._place: dict[str, Any] = {}
        self._answers: list[dict[str, Any]] = []
        self._added = ""
        self._joint: Joint | None = None

    def take(self, event: Event) -> bytes:
        """Take an event of the first stream; those that close a part wait to see whether it is the end."""
        if self._passing or not event.data:
            return event.raw
        said = parse(event.data) or {}
        kind = str(said.get("type"))
        if kind == "response.output_text.delta":
            keys = ("item_id", "output_index", "content_index")
            self._place = {key: said[key] for key in keys if key in said}
        if kind in TERMINAL:
            answer = as_dict(said.get("response"))
            self.text = (cut_text("responses", answer) if self._place else None) or ""
            self.cut = bool(self.text)
            self._passing = not self.cut
            self._answers = [answer]
        elif kind in {"response.output_text.done", "response.content_part.done", "response.output_item.done"}:
            self._held.append(event)
            return b""
        if not self.cut:
            out = self.released() + event.raw
            self._sequence = said.get("sequence_number", self._sequence)
            return out
        self._held.append(event)
        return b""

    def released(self) -> bytes:
        """Return what is held of the first stream."""
        held, self._held = self._held, []
        for event in held:
            self._sequence = (parse(event.data) or {}).get("sequence_number", self._sequence)
        return b"".join(event.raw for event in held)

    def next(self, joint: Joint) -> bytes:
        """Begin another stream."""
        self._joint = joint
        self.cut = False
        return b""

    def more(self, event: Event) -> bytes:
        """Take an event of a later stream, whose text goes on in the first one's last part."""
        said = parse(event.data) or {}
        kind = said.get("type")
        if kind == "response.output_text.delta" and self._joint is not None:
            return self._told(self._joint.feed(str(said.get("delta") or "")))
        if kind in TERMINAL and kind != "response.failed":
            answer = as_dict(said.get("response"))
            self._answers.append(answer)
            self.cut = cut_text("responses", answer) is not None
            return self._told(self._joint.flush() if self._joint is not None else "")
        return b""

    def _told(self, text: str) -> bytes:
        self.text += text
        self._added += text
        if not text:
            return b""
        return self._numbered("response.output_text.delta", **self._place, delta=text, logprobs=[])

    def _numbered(self, kind: str, **more: Any) -> bytes:
        self._sequence += 1
        return typed_event(kind, **{**more, "sequence_number": self._sequence})

    def end(self) -> bytes:
        """Return the events that were held, with the whole text, and the response with the usage of all."""
        out = self._told(self._joint.flush() if self._joint is not None else "")
        answer = joined("responses", self._answers, self._added)
        item = answer["output"][-1]
        part = item["content"][-1]
        new = {"text": part["text"], "part": part, "item": item}
        for event in self._held[:-1]:
            said = parse(event.data) or {}
            changed = {key: value for key, value in new.items() if key in said}
            out += self._numbered(str(said.pop("type")), **{**said, **changed})
        return out + self._numbered(f"response.{answer.get('status') or 'incomplete'}", response=answer)


def typed_event(kind: str, **more: Any) -> bytes:
    """Return an event that says its type twice, as both vendors' typed events do."""
    return encode({"type": kind, **more}, kind)
