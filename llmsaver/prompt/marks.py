"""A plan as Anthropic's ``cache_control``: at most four marks, the caller's own kept, nothing else changed.

The rules: tools, then system, then messages; a mark keeps everything before it; what is kept for an hour comes before
what is kept for five minutes; a top-level mark goes to the last block by itself (Anthropic, prompt caching).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.prompt.planner import Plan

__all__ = ["has_marks", "marked", "minimum"]

_MINIMUMS = (
    (re.compile(r"opus-5|fable|mythos"), 512),
    (re.compile(r"opus-4-?[56]|haiku-4-?5"), 4096),
    (re.compile(r"opus-4-?7|haiku-3"), 2048),
)
_USUAL = 1024
# Blocks that cannot carry a mark.
_UNMARKABLE = frozenset({"thinking", "redacted_thinking"})


@lru_cache(maxsize=500)
def minimum(model: str) -> int:
    """Return the fewest tokens that are kept for a model."""
    return next((tokens for pattern, tokens in _MINIMUMS if pattern.search(model)), _USUAL)


def has_marks(body: Mapping[str, Any]) -> bool:
    """Return whether the caller has set marks of their own, which then are the only ones."""
    if body.get("cache_control") is not None:
        return True
    return any(_has(body.get(name)) for name in ("tools", "system", "messages"))


def _has(value: Any) -> bool:
    if isinstance(value, dict):
        return "cache_control" in value or _has(value.get("content"))
    return isinstance(value, list) and any(_has(part) for part in value)


def marked(body: Mapping[str, Any], plan: Plan) -> dict[str, Any] | None:
    """Return a request with the marks of a plan, None where there is no place for any of them."""
    made = dict(body)
    if plan.static is not None:
        _mark_static(made, _mark(plan.static))
    for at in plan.earlier:
        _mark_message(made, at, _mark(plan.tail or plan.static or "5m"))
    if plan.tail is not None:
        made["cache_control"] = _mark(plan.tail)
    return None if made == dict(body) else made


def _mark(keep: str) -> dict[str, str]:
    return {"type": "ephemeral"} if keep == "5m" else {"type": "ephemeral", "ttl": keep}


def _mark_static(made: dict[str, Any], mark: dict[str, str]) -> None:
    """Mark the end of the instructions, or of the tools where there are none."""
    system, tools = made.get("system"), made.get("tools")
    if isinstance(system, str) and system:
        made["system"] = [{"type": "text", "text": system, "cache_control": mark}]
    elif isinstance(system, list) and system and isinstance(system[-1], dict):
        made["system"] = [*system[:-1], {**system[-1], "cache_control": mark}]
    elif isinstance(tools, list) and tools and isinstance(tools[-1], dict):
        made["tools"] = [*tools[:-1], {**tools[-1], "cache_control": mark}]


def _mark_message(made: dict[str, Any], at: int, mark: dict[str, str]) -> None:
    """Mark the last block of a message that can carry one."""
    messages = list(made["messages"])
    message = messages[at]
    content = message.get("content")
    if isinstance(content, str) and content:
        messages[at] = {**message, "content": [{"type": "text", "text": content, "cache_control": mark}]}
    elif isinstance(content, list) and content and _can_carry(content[-1]):
        messages[at] = {**message, "content": [*content[:-1], {**content[-1], "cache_control": mark}]}
    else:
        return
    made["messages"] = messages


def _can_carry(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") not in _UNMARKABLE and block.get("text") != ""
