"""Chat streams as messages events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmsaver.wire.chat import chat_usage
from llmsaver.wire.payload import as_dict, as_list, parse
from llmsaver.wire.sse import encode
from llmsaver.wire.translate_answers import call_id, message_id, stop_of, usage_for_messages
from llmsaver.wire.translate_stream import Retelling
from llmsaver.wire.translate_terms import Untranslatable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llmsaver.core.usage import Usage

__all__ = ["Events"]


class Events(Retelling):
    """Tells a chat stream as messages events; only the last two wait, for the usage that comes after the end."""

    dialect = "messages"

    def __init__(self) -> None:
        super().__init__()
        self._begun = False
        self._choice: dict[str, Any] = {}
        self._refused = False
        self._raw: dict[str, Any] = {}
        self._service_tier: Any = None
        self._blocks: list[_Block] = []
        self._calls: dict[int, _Block] = {}
        self._at = 0

    def usage(self) -> Usage | None:
        """Return what the provider reported so far, as messages says it."""
        usage = chat_usage(self._raw)
        return None if usage is None else replace(usage, raw=usage_for_messages(usage, self._service_tier))

    def _tell(self, said: Mapping[str, Any]) -> Iterator[bytes]:
        self._raw = as_dict(said.get("usage")) or self._raw
        self._service_tier = said.get("service_tier") or self._service_tier
        for choice in map(as_dict, as_list(said.get("choices"))):
            if choice.get("index"):
                raise Untranslatable("choices have no equal in the messages dialect: more than one of them")
            if not self._begun:
                self._begun = True
                yield self._start(said)
            yield from self._delta(as_dict(choice.get("delta")))
            if choice.get("finish_reason"):
                self._choice = choice

    def _start(self, chunk: Mapping[str, Any]) -> bytes:
        usage = self.usage()
        message: dict[str, Any] = {
            "id": message_id(chunk.get("id")),
            "type": "message",
            "role": "assistant",
            "model": chunk.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            # Unknown before the end: an empty object says less than zeros would.
            "usage": {} if usage is None else usage.raw,
        }
        return _event("message_start", message=message)

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[bytes]:
        for key in ("audio", "function_call"):
            if delta.get(key):
                raise Untranslatable(f"delta.{key} has no equal in the messages dialect")
        self._refused = self._refused or bool(delta.get("refusal"))
        for key in ("content", "refusal"):
            if isinstance(delta.get(key), str) and delta[key]:
                yield from self._text(delta[key])
        for call in map(as_dict, as_list(delta.get("tool_calls"))):
            yield from self._call(call)

    def _text(self, piece: str) -> Iterator[bytes]:
        if not self._blocks or self._blocks[-1].call:
            self._blocks.append(_Block(len(self._blocks), call=False))
        self._blocks[-1].held.append(piece)
        yield from self._advance()

    def _call(self, call: Mapping[str, Any]) -> Iterator[bytes]:
        index = call.get("index")
        if not isinstance(index, int):
            # A server that leaves the index out starts a call with its id.
            index = len(self._calls) if call.get("id") or not self._calls else max(self._calls)
        if index not in self._calls:
            self._calls[index] = _Block(len(self._blocks), call=True)
            self._blocks.append(self._calls[index])
        block, function = self._calls[index], as_dict(call.get("function"))
        block.id = block.id or call.get("id")
        block.name = block.name or function.get("name")
        if isinstance(function.get("arguments"), str):
            block.held.append(function["arguments"])
            block.said.append(function["arguments"])
        yield from self._advance()

    def _advance(self, *, final: bool = False) -> Iterator[bytes]:
        """Yield what may be told now: blocks one after the other, as this dialect has them.

        Calls may arrive interleaved: one that follows another waits until that one's arguments are a whole object.
        """
        while self._at < len(self._blocks):
            block = self._blocks[self._at]
            yield from block.told(final=final)
            if not final and (self._at == len(self._blocks) - 1 or not block.done()):
                return
            yield _event("content_block_stop", index=block.index)
            self._at += 1

    def _end(self) -> Iterator[bytes]:
        """Yield the end, where the answer came to it: a reason to finish, or ``[DONE]`` without one."""
        if not self._begun:
            yield self._failed({"message": "the provider's stream has no answer"})
            return
        if not self._choice and not self._over:
            return  # it was cut short
        yield from self._advance(final=True)
        usage = self.usage()
        stop = stop_of(self._choice, calls=bool(self._calls), refused=self._refused)
        yield _event("message_delta", delta=stop, usage={} if usage is None else usage.raw)
        yield _event("message_stop")


class _Block:
    """One content block on its way: what of it is still held, and what a call has said so far."""

    __slots__ = ("_looked", "_opened", "call", "held", "id", "index", "name", "said")

    def __init__(self, index: int, *, call: bool) -> None:
        self.index = index
        self.call = call
        self.id: Any = None
        self.name: Any = None
        self.held: list[str] = []
        self.said: list[str] = []
        self._opened = False
        # How many pieces were read when they were found to be no whole object.
        self._looked = -1

    def done(self) -> bool:
        """Whether nothing more can follow: text ends where another block begins, a call with its last brace."""
        if self.call and self._looked != len(self.said):
            self._looked = len(self.said)
            return parse("".join(self.said)) is not None
        return not self.call

    def told(self, *, final: bool) -> Iterator[bytes]:
        """Yield what is held, after the block's beginning; a call's name comes first, and may be late."""
        if not self._opened:
            if self.call and not self.name and not final:
                return
            self._opened = True
            yield _event("content_block_start", index=self.index, content_block=self._beginning())
        held, self.held = self.held, []
        for piece in filter(None, held):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield _event(
                "content_block_delta",
                index=self.index,
                delta=delta if self.call else {"type": "text_delta", "text": piece},
            )

    def _beginning(self) -> dict[str, Any]:
        if self.call:
            return {"type": "tool_use", "id": call_id(self.id), "name": self.name or "", "input": {}}
        return {"type": "text", "text": ""}


def _event(kind: str, **more: Any) -> bytes:
    return encode({"type": kind, **more}, kind)
