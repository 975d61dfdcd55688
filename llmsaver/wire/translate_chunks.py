"""Messages streams as chat chunks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmsaver.wire.messages import messages_usage
from llmsaver.wire.messages_stream import merged
from llmsaver.wire.payload import as_dict
from llmsaver.wire.sse import encode
from llmsaver.wire.translate_answers import SILENT, chat_id, chat_service_tier, finish_of, usage_for_chat
from llmsaver.wire.translate_stream import Retelling
from llmsaver.wire.translate_terms import Untranslatable, refuse_others

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llmsaver.core.usage import Usage

__all__ = ["Chunks"]

_SILENT_DELTAS = ("thinking_delta", "signature_delta")


@dataclass(slots=True)
class _Call:
    """One call on its way: its position among the calls, and what its block began with until it says more."""

    position: int
    given: Any


class Chunks(Retelling):
    """Tells a messages stream as chat chunks, each as soon as its event is there.

    ``asked`` is the caller's request: whether it wants the usage chunk.
    """

    dialect = "chat"

    def __init__(self, asked: Mapping[str, Any]) -> None:
        super().__init__()
        self._with_usage = bool(as_dict(asked.get("stream_options")).get("include_usage"))
        self._frame: dict[str, Any] = {}
        self._raw: dict[str, Any] = {}
        self._stop: dict[str, Any] = {}
        self._calls: dict[int, _Call] = {}
        self._said = False
        self._stopped = False

    def usage(self) -> Usage | None:
        """Return what the provider reported so far, as chat says it."""
        usage = messages_usage(self._raw)
        return None if usage is None else replace(usage, raw=usage_for_chat(usage))

    def _tell(self, said: Mapping[str, Any]) -> Iterator[bytes]:
        kind, index = said.get("type"), said.get("index")
        if kind == "message_start":
            yield self._start(as_dict(said.get("message")))
        elif kind == "content_block_start":
            yield from self._open(index, as_dict(said.get("content_block")))
        elif kind == "content_block_delta":
            yield from self._delta(index, as_dict(said.get("delta")))
        elif kind == "content_block_stop":
            yield from self._close(index)
        elif kind == "message_delta":
            self._stop |= as_dict(said.get("delta"))
            self._raw = merged(self._raw, as_dict(said.get("usage")))
        elif kind == "message_stop":
            self._stopped = True
            yield from self._end()
            self._over = True

    def _start(self, message: Mapping[str, Any]) -> bytes:
        self._raw = dict(as_dict(message.get("usage")))
        self._frame = {
            "id": chat_id(message.get("id")),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": message.get("model"),
            **chat_service_tier(self._raw),
        }
        return self._chunk({"role": "assistant", "content": None, "refusal": None})

    def _open(self, index: Any, block: dict[str, Any]) -> Iterator[bytes]:
        kind = block.get("type")
        if kind == "text":
            refuse_others(block, "content_block.", ("type", "text"))
            yield from self._text(block.get("text"))
        elif kind == "tool_use":
            call = self._calls[_index(index)] = _Call(len(self._calls), block.get("input"))
            named = {"name": block.get("name"), "arguments": ""}
            head = {"index": call.position, "id": block.get("id"), "type": "function", "function": named}
            yield self._chunk({"tool_calls": [head]})
        elif str(kind) not in SILENT:
            raise Untranslatable(f"content_block.type has no equal in the chat dialect: {kind!r}")

    def _delta(self, index: Any, delta: Mapping[str, Any]) -> Iterator[bytes]:
        kind = delta.get("type")
        if kind == "text_delta":
            yield from self._text(delta.get("text"))
        elif kind == "input_json_delta":
            call = self._calls.get(_index(index))
            if call is not None and delta.get("partial_json"):
                call.given = None
                yield self._arguments(call, delta["partial_json"])
        elif kind not in _SILENT_DELTAS:
            raise Untranslatable(f"delta.type has no equal in the chat dialect: {kind!r}")

    def _close(self, index: Any) -> Iterator[bytes]:
        """Yield the arguments of a call that came without a delta; chat writes even none of them as an object."""
        call = self._calls.get(_index(index))
        if call is not None and call.given is not None:
            yield self._arguments(call, json.dumps(call.given, ensure_ascii=False))
            call.given = None

    def _arguments(self, call: _Call, piece: Any) -> bytes:
        return self._chunk({"tool_calls": [{"index": call.position, "function": {"arguments": piece}}]})

    def _text(self, text: Any) -> Iterator[bytes]:
        if text:
            self._said = True
            yield self._chunk({"content": text})

    def _end(self) -> Iterator[bytes]:
        if not self._stopped:
            return
        if not self._said and not self._calls:
            yield self._chunk({"content": ""})
        explanation = as_dict(self._stop.get("stop_details")).get("explanation")
        if explanation:
            yield self._chunk({"refusal": explanation})
        yield self._chunk({}, finish_of(self._stop.get("stop_reason"), bool(self._calls)))
        usage = self.usage()
        if self._with_usage and usage is not None:
            yield encode({**self._frame, "choices": [], "usage": usage.raw})
        yield b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return encode({**self._frame, "choices": [choice], **({"usage": None} if self._with_usage else {})})


def _index(value: Any) -> int:
    return value if isinstance(value, int) else 0
