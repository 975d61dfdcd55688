"""An answer of any dialect as the text that it comes down to, for comparing it with another."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["answer_text"]

# What an answer carries that says nothing: ids, signatures, positions.
_TEXT, _CALLED = "text", ("name", "arguments", "input")


def answer_text(dialect: str, message: Mapping[str, Any]) -> str:
    """Return what an answer says, its tool calls as JSON without their ids; "" for one that cannot be read."""
    try:
        return "\n".join(_PARTS[dialect](message))
    except (KeyError, TypeError, AttributeError):
        return ""


def _chat(message: Mapping[str, Any]) -> Iterator[str]:
    for choice in message["choices"]:
        said = choice["message"]
        if said.get("content"):
            yield said["content"]
        for call in said.get("tool_calls") or []:
            yield _call(call.get("function") or call.get("custom") or {})


def _responses(message: Mapping[str, Any]) -> Iterator[str]:
    for item in message["output"]:
        if item.get("type") == "message":
            yield from (part[_TEXT] for part in item["content"] if _TEXT in part)
        elif str(item.get("type")).endswith("_call"):
            yield _call(item)


def _messages(message: Mapping[str, Any]) -> Iterator[str]:
    for block in message["content"]:
        if block.get("type") == _TEXT:
            yield block[_TEXT]
        elif block.get("type") == "tool_use":
            yield _call(block)


def _call(call: Mapping[str, Any]) -> str:
    told = {name: call[name] for name in _CALLED if name in call}
    if isinstance(told.get("arguments"), str):
        with suppress(ValueError):  # arguments that are no JSON are compared as they are
            told["arguments"] = json.loads(told["arguments"])
    return json.dumps(told, sort_keys=True)


_PARTS = {"chat": _chat, "responses": _responses, "messages": _messages}
