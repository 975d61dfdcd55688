"""Chat chunks of the local server as the events of a messages stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict, as_list
from llmsaver.wire.sse import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MessagesTeller", "messages_error"]

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_SERVER_ERROR = 500


class MessagesTeller:
    """Tells one answer; each chunk's events leave at once, only the end waits for the usage."""

    def __init__(self) -> None:
        self._begun = False
        self._block = -1
        self._open: str | None = None
        self._reason: str | None = None
        self._stop_sequence: str | None = None
        self._usage: dict[str, Any] = {}

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the events that one chunk becomes."""
        if chunk.get("error"):
            yield _event(messages_error(as_dict(chunk["error"])))
            return
        self._note(chunk)
        for choice in as_list(chunk.get("choices"))[:1]:
            delta = as_dict(choice.get("delta"))
            said = any(delta.get(key) for key in ("content", "reasoning_content", "tool_calls"))
            if not self._begun and (said or choice.get("finish_reason")):
                yield self._start(chunk)
            if said:
                yield from self._delta(delta)
            if choice.get("finish_reason"):
                yield from self._close()
                self._reason = _REASONS.get(choice["finish_reason"], "end_turn")

    def end(self) -> Iterator[bytes]:
        """Yield the last two events, where the answer came to its end."""
        if self._reason is None:
            return
        reason = "stop_sequence" if self._stop_sequence and self._reason == "end_turn" else self._reason
        delta = {"stop_reason": reason, "stop_sequence": self._stop_sequence}
        yield _event({"type": "message_delta", "delta": delta, "usage": self._usage})
        yield _event({"type": "message_stop"})

    def _note(self, chunk: Mapping[str, Any]) -> None:
        """Keep what a chunk says about tokens and about the stop word."""
        timings, usage = as_dict(chunk.get("timings")), as_dict(chunk.get("usage"))
        if usage:
            read = as_dict(usage.get("prompt_tokens_details")).get("cached_tokens") or 0
            self._usage = _counts((usage.get("prompt_tokens") or 0) - read, read, usage.get("completion_tokens") or 0)
        elif timings:
            self._usage = _counts(
                timings.get("prompt_n") or 0, timings.get("cache_n") or 0, timings.get("predicted_n") or 0
            )
        self._stop_sequence = as_dict(chunk.get("__verbose")).get("stopping_word") or self._stop_sequence

    def _start(self, chunk: Mapping[str, Any]) -> bytes:
        self._begun = True
        message: dict[str, Any] = {
            "id": "msg_" + str(chunk.get("id", "")).removeprefix("chatcmpl-"),
            "type": "message",
            "role": "assistant",
            "model": chunk.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**(self._usage or _counts(0, 0, 0)), "output_tokens": 0},
        }
        return _event({"type": "message_start", "message": message})

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[bytes]:
        if delta.get("reasoning_content"):
            yield from self._in("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            yield self._piece({"type": "thinking_delta", "thinking": delta["reasoning_content"]})
        if delta.get("content"):
            yield from self._in("text", {"type": "text", "text": ""})
            yield self._piece({"type": "text_delta", "text": delta["content"]})
        for call in map(as_dict, as_list(delta.get("tool_calls"))):
            function = as_dict(call.get("function"))
            which = f"call {call.get('index', 0)}"
            tool_id = "toolu_" + str(call.get("id", "")).removeprefix("call_")
            yield from self._in(which, {"type": "tool_use", "id": tool_id, "name": function.get("name"), "input": {}})
            if function.get("arguments"):
                yield self._piece({"type": "input_json_delta", "partial_json": function["arguments"]})

    def _in(self, which: str, block: dict[str, Any]) -> Iterator[bytes]:
        """Open a block unless it is the open one."""
        if self._open != which:
            yield from self._close()
            self._open, self._block = which, self._block + 1
            yield _event({"type": "content_block_start", "index": self._block, "content_block": block})

    def _piece(self, delta: dict[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._block, "delta": delta})

    def _close(self) -> Iterator[bytes]:
        if self._open is not None:
            self._open = None
            yield _event({"type": "content_block_stop", "index": self._block})


def messages_error(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return an error of the local server as this dialect says it; what else it knows (token counts) stays."""
    code = error.get("code")
    status = code if isinstance(code, int) else _SERVER_ERROR
    kind = _KINDS.get(status, "invalid_request_error" if status < _SERVER_ERROR else "api_error")
    return {"type": "error", "error": {**error, "type": kind}}


def _counts(fresh: int, read: int, written: int) -> dict[str, Any]:
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": read,
        "output_tokens": written,
    }


def _event(event: dict[str, Any]) -> bytes:
    return encode(event, event["type"])
