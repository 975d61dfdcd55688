"""The outputs of tools in a conversation, and which of them are old enough to be left out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.core.shapes import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.prompt.blocks import Block, Place

__all__ = ["Output", "old", "outputs_of", "turns_of"]

_TURNS = {"chat": "messages", "messages": "messages", "responses": "input"}
# Compared one by one: what a caller sends as a type may have no hash.
_CALLS = ("function_call", "custom_tool_call")
# What went wrong is what a model goes on from: a message that begins so, or JSON that says so first.
_ERROR = re.compile(
    r"\s*(?:\{\s*\"errors?\"|(?:\w*error|\w*exception|fatal|failed|failure|panic|traceback)\b)", re.IGNORECASE
)
_TRACE = "Traceback (most recent call last)"
_KEEP = "<keep>"


@dataclass(frozen=True, slots=True)
class Output:
    """One text of a tool: its number among all of them, place, the message it is in and the turn of tools.

    ``name``: the tool's; ``size``: its bytes as it is sent where it is no stub; ``fixed``: whether it must stay.
    """

    number: int
    place: Place
    message: int
    turn: int
    name: str
    text: str
    size: int
    fixed: bool


def turns_of(dialect: str, body: Mapping[str, Any]) -> Sequence[Any]:
    """Return a request's messages; none where it refers to others that are kept by the provider."""
    if any(body.get(name) for name in ("previous_response_id", "conversation", "prompt", "container")):
        return ()
    turns = body.get(_TURNS.get(dialect, ""))
    return turns if isinstance(turns, list) else ()


def outputs_of(
    dialect: str, body: Mapping[str, Any], blocks: Sequence[Block], shaped: Mapping[Place, str]
) -> list[Output]:
    """Return what tools gave, in order; ``shaped`` are the texts that are sent instead of some."""
    turns = turns_of(dialect, body)
    names = _names(turns)
    found: list[Output] = []
    turn, before = 0, -1
    for block in blocks:
        message = int(block.place[1])
        if block.source != "tool" or message >= len(turns):
            continue
        if any(_is_call(each) for each in turns[before + 1 : message]) or before < 0:
            turn += 1
        before = message
        told = shaped.get(block.place, block.text)
        given = _given(turns[message], block.place)
        fixed = given.get("is_error") is True or _KEEP in block.text or _is_error(block.text)
        name = names.get(str(_id_of(given)), "")
        size = len(told.encode("utf-8", "replace"))
        found.append(Output(len(found), block.place, message, turn, name, block.text, size, fixed))
    return found


def old(outputs: Sequence[Output], recent: int, least_tokens: int, largest: int) -> list[Output]:
    """Return those that may be left out: before the last ``recent`` turns, not small, not larger than is kept.

    A text that comes again later, where it stays, stays as well: the later one may be told as "the same as above".
    """
    last = outputs[-1].turn - recent if outputs else 0
    found: list[Output] = []
    staying: set[str] = set()
    for output in reversed(outputs):
        small = output.size < least_tokens * BYTES_PER_TOKEN
        if output.turn > last or output.fixed or small or len(output.text) > largest or output.text in staying:
            staying.add(output.text)
        else:
            found.append(output)
    return found[::-1]


def _names(turns: Sequence[Any]) -> dict[str, str]:
    """Return the tools' names by the ids of their calls."""
    names: dict[str, str] = {}
    for turn in turns:
        if not isinstance(turn, dict):
            continue
        calls: list[Any] = [turn] if turn.get("type") in _CALLS else []
        for part in ("tool_calls", "content"):
            calls += turn[part] if isinstance(turn.get(part), list) else ()
        for call in calls:
            if isinstance(call, dict) and (told := call.get("call_id") or call.get("id")):
                inner = call.get("function") or call.get("custom") or call
                name = inner.get("name") if isinstance(inner, dict) else None
                names[str(told)] = name if isinstance(name, str) else ""
    return names


def _given(turn: Any, place: Place) -> Mapping[str, Any]:
    """Return what holds a tool's text: the message, or in the messages dialect the part of one."""
    part = turn["content"][place[3]] if turn.get("role") == "user" else turn
    return part if isinstance(part, dict) else {}


def _id_of(given: Mapping[str, Any]) -> Any:
    return given.get("tool_call_id") or given.get("call_id") or given.get("tool_use_id")


def _is_call(turn: Any) -> bool:
    return isinstance(turn, dict) and (turn.get("role") == "assistant" or turn.get("type") in _CALLS)


def _is_error(text: str) -> bool:
    return _ERROR.match(text) is not None or _TRACE in text
