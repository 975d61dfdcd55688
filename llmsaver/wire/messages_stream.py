"""Messages answers as events, and events as one answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict, as_list, parse
from llmsaver.wire.sse import encode, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["assemble", "merged", "replay"]

# The counts a message_delta carries; the rest (the split of cache writes by lifetime, the tier) is message_start's.
_CUMULATIVE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
    "fallback_credit",
)
# Known only at the end.
_LATE = frozenset({"output_tokens_details", "server_tool_use", "iterations", "fallback_credit"})
_STOP = ("stop_reason", "stop_sequence", "stop_details")
_DELTA_TEXT = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def merged(known: Mapping[str, Any], delta: Mapping[str, Any]) -> dict[str, Any]:
    """Return usage after a ``message_delta``: its counts are totals, so they replace; what it leaves out stays."""
    return {**known, **{key: value for key, value in delta.items() if value is not None}}


def assemble(kept: Iterable[bytes]) -> dict[str, Any] | None:
    """Return the message that events add up to, as far as they go; None before ``message_start``."""
    message: dict[str, Any] = {}
    blocks: dict[int, _Block] = {}
    for data in kept:
        event = parse(data) or {}
        kind = event.get("type")
        if kind == "message_start":
            message = dict(as_dict(event.get("message")))
        elif kind == "content_block_start":
            blocks[_index(event)] = _Block(as_dict(event.get("content_block")))
        elif kind == "content_block_delta" and (block := blocks.get(_index(event))) is not None:
            block.add(as_dict(event.get("delta")))
        elif kind == "message_delta" and message:
            _close(message, event)
    if not message:
        return None
    message["content"] = [blocks[index].whole() for index in sorted(blocks)]
    for block in message["content"]:
        # After a fallback the message is the model's that answered, as in an answer that is not streamed.
        if block.get("type") == "fallback" and "model" in as_dict(block.get("to")):
            message["model"] = block["to"]["model"]
    return message


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0


def _close(message: dict[str, Any], event: Mapping[str, Any]) -> None:
    delta = as_dict(event.get("delta"))
    message.update({key: value for key, value in delta.items() if value is not None or key in _STOP})
    more = {key: value for key, value in event.items() if key not in ("type", "delta", "usage")}
    message.update({key: value for key, value in more.items() if value is not None})
    usage = event.get("usage")
    if isinstance(usage, dict):
        message["usage"] = merged(as_dict(message.get("usage")), usage)


class _Block:
    """One content block on its way; its texts are joined once, at the end."""

    __slots__ = ("_block", "_texts")

    def __init__(self, block: Mapping[str, Any]) -> None:
        self._block = dict(block)
        self._texts: dict[str, list[str]] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        kind = delta.get("type")
        if kind == "citations_delta":
            self._block["citations"] = [*as_list(self._block.get("citations")), delta.get("citation")]
        elif kind in _DELTA_TEXT:
            key = _DELTA_TEXT[kind]
            if isinstance(delta.get(key), str):
                self._texts.setdefault(key, []).append(delta[key])
        else:
            # A signature, a compaction, what a later version adds: said once, in full.
            self._block.update({key: value for key, value in delta.items() if key != "type"})

    def whole(self) -> dict[str, Any]:
        whole = dict(self._block)
        for key, texts in self._texts.items():
            text = "".join(texts)
            if key != "partial_json":
                start = whole.get(key)
                whole[key] = (start if isinstance(start, str) else "") + text
            elif text:
                try:
                    whole["input"] = json.loads(text)
                except (ValueError, RecursionError):
                    whole[key] = text
        return whole


def replay(message: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the events of a whole message, from ``message_start`` to ``message_stop``."""
    usage = {"input_tokens": 0, "output_tokens": 0, **as_dict(message.get("usage"))}
    early = {key: value for key, value in usage.items() if key not in _LATE or value is None}
    stop = {key: None for key in _STOP if key in message}
    yield _event("message_start", message={**message, **stop, "content": [], "usage": {**early, "output_tokens": 0}})
    for index, block in enumerate(as_list(message.get("content"))):
        if isinstance(block, dict):
            yield from _block_events(index, block)
    delta = {"stop_reason": None, "stop_sequence": None, **{key: message[key] for key in _STOP if key in message}}
    yield _event("message_delta", delta=delta, usage={key: usage[key] for key in _CUMULATIVE if key in usage})
    yield _event("message_stop")


def _event(kind: str, **more: Any) -> bytes:
    return encode({"type": kind, **more}, kind)


def _block_events(index: int, block: Mapping[str, Any]) -> Iterator[bytes]:
    opening, deltas = _told(block)
    yield _event("content_block_start", index=index, content_block=opening)
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _told(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how a block starts and the deltas that complete it; a block of another type starts complete."""
    kind = block.get("type")
    opening = dict(block)
    deltas: list[dict[str, Any]] = []
    if kind == "text" and isinstance(block.get("text"), str):
        opening["text"] = ""
        if isinstance(block.get("citations"), list):
            opening["citations"] = []
            deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
        deltas += [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    elif kind == "thinking" and isinstance(block.get("thinking"), str):
        opening["thinking"] = ""
        deltas += [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        if isinstance(block.get("signature"), str):
            opening["signature"] = ""
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use") and "input" in block:
        opening["input"] = {}
        cut_short = opening.pop("partial_json", None)
        written = "" if block["input"] == {} else json.dumps(block["input"])
        if isinstance(cut_short, str):
            written = cut_short
        deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces(written))]
    return opening, deltas
