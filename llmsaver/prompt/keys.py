"""A plan as OpenAI's parameters: the key that brings like requests together, and from GPT-5.6 on what is written.

The rules: below 5.6 caching is automatic and writing free, so only the key is set; from 5.6 on a write costs, one
breakpoint near the last message is implicit unless ``prompt_cache_options.mode`` is "explicit", and a breakpoint on a
block marks a prefix that others share (OpenAI, prompt caching).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.prompt.outline import Outline
    from llmsaver.prompt.planner import Plan

__all__ = ["MINIMUM", "decided_by_caller", "keyed"]

MINIMUM = 1024
_OURS = ("prompt_cache_key", "prompt_cache_options")
_MARK = {"mode": "explicit"}
_TEXT = {"chat": "text", "responses": "input_text"}


def decided_by_caller(body: Mapping[str, Any]) -> bool:
    """Return whether the caller has set options or breakpoints, which then are the only ones."""
    if body.get("prompt_cache_options") is not None:
        return True
    turns = body.get("messages", body.get("input"))
    return isinstance(turns, list) and any(_has_mark(turn) for turn in turns)


def _has_mark(turn: Any) -> bool:
    content = turn.get("content") if isinstance(turn, dict) else None
    return isinstance(content, list) and any(
        isinstance(part, dict) and "prompt_cache_breakpoint" in part for part in content
    )


def keyed(
    body: Mapping[str, Any], dialect: str, outline: Outline, plan: Plan, *, writes_cost: bool
) -> dict[str, Any] | None:
    """Return a request with a plan's parameters, None where nothing is to be set.

    ``writes_cost``: whether the model is one of those whose cache is written for a price.
    """
    made = dict(body)
    if outline.static_tokens >= MINIMUM and body.get("prompt_cache_key") is None:
        made["prompt_cache_key"] = f"ls-{outline.key}"
    if writes_cost and outline.total_tokens >= MINIMUM:
        shared = plan.static is not None and _mark_static(made, dialect, outline.leading)
        if plan.tail is None and (shared or plan.static is None):
            made["prompt_cache_options"] = {"mode": "explicit"}
    return None if made == dict(body) else made


def _mark_static(made: dict[str, Any], dialect: str, leading: int) -> bool:
    """Mark the end of the instructions; return whether they are messages, which alone can be marked."""
    name = "messages" if dialect == "chat" else "input"
    turns = made.get(name)
    if not leading or not isinstance(turns, list):
        return False
    last = turns[leading - 1]
    content = last.get("content")
    if isinstance(content, str) and content:
        marked = {**last, "content": [{"type": _TEXT[dialect], "text": content, "prompt_cache_breakpoint": _MARK}]}
    elif isinstance(content, list) and content and isinstance(content[-1], dict) and "text" in content[-1]:
        marked = {**last, "content": [*content[:-1], {**content[-1], "prompt_cache_breakpoint": _MARK}]}
    else:
        return False
    made[name] = [*turns[: leading - 1], marked, *turns[leading:]]
    return True
