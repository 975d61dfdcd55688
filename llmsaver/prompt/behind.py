"""A text put at the very end of a request, behind whatever a provider keeps of it for the next one.

What is said of one request only must not stand in what the next one is to begin with. So the conversation's own end is
marked where the provider lets one mark it, and the text comes after the mark: the next request, which has the same
conversation without the text, reads up to there. Nothing need be remembered for that, in this process or another.

Where: in the messages dialect the system prompt is the only place for instructions, so the text is a last block of the
last message of the user, after tool results, which come first there; nowhere after results where the model thinks, as
for some models a text ends the turn there, and what they thought in it goes. In the others it is a message of its own,
with the role that the instructions had: it loses no authority, and what users and tools said stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FRAME", "put_behind"]

FRAME = "[From the instructions, as of this request:]"
_MARK = {"mode": "explicit"}
_TEXTS = {"chat": "text", "responses": "input_text"}


def put_behind(
    dialect: str, body: Mapping[str, Any], said: Sequence[str], role: str, *, keeps_tail: bool
) -> dict[str, Any] | None:
    """Return a request, its marks set, with sentences at its end; None where they have no place there.

    ``keeps_tail``: whether what the provider is to keep up to the end must be marked, as it costs (OpenAI from 5.6 on).
    """
    text = "\n".join([FRAME, *said])
    if dialect == "messages":
        return _in_messages(body, text)
    name = "messages" if dialect == "chat" else "input"
    turns = body.get(name)
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    if not isinstance(turns, list) or not turns:
        return None
    at = _after_others(turns)
    if at is None:
        return None
    made = dict(body)
    if keeps_tail and "prompt_cache_options" not in body:
        marked = _broken(turns[at - 1], dialect)
        if marked is not None:
            turns = [*turns[: at - 1], marked, *turns[at:]]
            made["prompt_cache_options"] = {"mode": "explicit"}
    made[name] = [*turns[:at], {"role": role or "developer", "content": text}, *turns[at:]]
    return made


def _after_others(turns: Sequence[Any]) -> int | None:
    """Return the place after the last message that is not the model's; None where it waits for a tool there."""
    for at in range(len(turns), 0, -1):
        turn = turns[at - 1]
        if not isinstance(turn, dict) or turn.get("tool_calls"):
            return None
        kind = turn.get("type", "message")
        if turn.get("role") != "assistant" and (kind == "message" or kind.endswith("_output")):
            return at
        if kind != "message":
            return None
    return None


def _broken(turn: Mapping[str, Any], dialect: str) -> dict[str, Any] | None:
    """Return a message with a breakpoint at its end; None where it cannot have one."""
    name = "output" if "output" in turn else "content"
    content = turn.get(name)
    if isinstance(content, str) and content:
        return {**turn, name: [{"type": _TEXTS[dialect], "text": content, "prompt_cache_breakpoint": _MARK}]}
    if isinstance(content, list) and content and isinstance(content[-1], dict) and "text" in content[-1]:
        return {**turn, name: [*content[:-1], {**content[-1], "prompt_cache_breakpoint": _MARK}]}
    return None


def _in_messages(body: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return None
    at = next((at for at in range(len(messages) - 1, -1, -1) if _is_users(messages[at])), None)
    if at is None:
        return None
    content = messages[at].get("content")
    if _thinks(body) and isinstance(content, list) and any(map(_is_result, content)):
        return None
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) and content.strip() else content
    if not isinstance(blocks, list) or not blocks or not isinstance(blocks[-1], dict):
        return None
    made = dict(body)
    # The top-level mark would keep the last block, which is ours and no other request's.
    mark = made.pop("cache_control", None)
    if mark is not None and blocks[-1].get("text") != "":
        blocks = [*blocks[:-1], {"cache_control": mark, **blocks[-1]}]
    behind = {**messages[at], "content": [*blocks, {"type": "text", "text": text}]}
    made["messages"] = [*messages[:at], behind, *messages[at + 1 :]]
    return made


def _thinks(body: Mapping[str, Any]) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") != "disabled"


def _is_result(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_result"


def _is_users(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "user"
