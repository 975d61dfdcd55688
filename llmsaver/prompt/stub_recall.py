"""The tool by which a model calls an original back: offered, its calls read, and answered, in every dialect."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.prompt.continuing import summed
from llmsaver.prompt.stub_text import RECALL
from llmsaver.wire.payload import as_dict, as_list, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Recalled",
    "answered",
    "billed_together",
    "can_offer",
    "offered",
    "recalls_at_all",
    "recalls_in",
    "withdrawn",
    "without_recalls",
]

_DESCRIPTION = (
    "Returns the whole text of an earlier tool output that was left out of this conversation. Call it only when that "
    "text is needed and running the tool again would not do."
)
_SCHEMA = {
    "type": "object",
    "properties": {"reference": {"type": "string", "description": "As it stands in its place: llmsaver:o-..."}},
    "required": ["reference"],
    "additionalProperties": False,
}
_FUNCTION = {"name": RECALL, "description": _DESCRIPTION, "parameters": _SCHEMA}
_TOOLS: Mapping[str, Mapping[str, Any]] = {
    "chat": {"type": "function", "function": _FUNCTION},
    "responses": {"type": "function", **_FUNCTION, "strict": False},
    "messages": {"name": RECALL, "description": _DESCRIPTION, "input_schema": _SCHEMA},
}
# Compared one by one: what a provider sends as a type may have no hash.
_PARTS = {"responses": "output", "messages": "content"}
_SAID = ("message", "reasoning", "function_call")
_THOUGHT = ("text", "thinking", "redacted_thinking", "tool_use")


# OpenAI takes no more tools than these.
_MOST_TOOLS = 128


@dataclass(frozen=True, slots=True)
class Recalled:
    """One call of the tool."""

    id: str
    reference: str


def can_offer(dialect: str, body: Mapping[str, Any]) -> bool:
    """Return whether the tool may be added: to a list of others, in which the application has no such tool itself.

    Not where there is no room for another, nor where several choices are asked for, of which one cannot go on alone.
    """
    tools = body.get("tools")
    if dialect not in _TOOLS or not isinstance(tools, list) or not 0 < len(tools) < _MOST_TOOLS:
        return False
    if body.get("n") not in (None, 1):
        return False
    return all(_name_of(as_dict(tool)) != RECALL for tool in tools)


def offered(dialect: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with the tool, after all others."""
    return {**body, "tools": [*body["tools"], dict(_TOOLS[dialect])]}


def withdrawn(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request without the tool."""
    return {**body, "tools": [tool for tool in body["tools"] if _name_of(as_dict(tool)) != RECALL]}


def recalls_in(dialect: str, message: Mapping[str, Any]) -> list[Recalled]:
    """Return the calls of the tool in an answer that calls nothing else; else none."""
    if dialect == "chat":
        choices = as_list(message.get("choices"))
        said = as_dict(as_dict(choices[0]).get("message")) if len(choices) == 1 else {}
        calls = [as_dict(call) for call in as_list(said.get("tool_calls"))]
        found = [(call.get("id"), as_dict(call.get("function"))) for call in calls]
        return _ours([(told, call.get("name"), parse(str(call.get("arguments")))) for told, call in found])
    if dialect == "responses":
        items = [as_dict(item) for item in as_list(message.get("output"))]
        if any(item.get("type") not in _SAID for item in items):
            return []
        calls = [item for item in items if item.get("type") == "function_call"]
        return _ours([(call.get("call_id"), call.get("name"), parse(str(call.get("arguments")))) for call in calls])
    blocks = [as_dict(block) for block in as_list(message.get("content"))]
    if any(block.get("type") not in _THOUGHT for block in blocks):
        return []
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    return _ours([(call.get("id"), call.get("name"), call.get("input")) for call in calls])


def recalls_at_all(dialect: str, message: Mapping[str, Any]) -> bool:
    """Return whether an answer calls the tool: alone or beside others, in whichever of its choices."""
    if dialect != "chat":
        return any(map(_is_ours, as_list(message.get(_PARTS[dialect]))))
    said = [as_dict(as_dict(choice).get("message")) for choice in as_list(message.get("choices"))]
    return any(_is_ours(call) for each in said for call in as_list(each.get("tool_calls")))


def without_recalls(dialect: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer that calls the tool without those calls: what is left is for the application."""
    if dialect == "chat":
        return {**message, "choices": [_choice_without(as_dict(choice)) for choice in message["choices"]]}
    part = _PARTS[dialect]
    left = [each for each in message[part] if not _is_ours(each)]
    made = {**message, part: left}
    if message.get("stop_reason") == "tool_use" and all(as_dict(each).get("type") != "tool_use" for each in left):
        made["stop_reason"] = "end_turn"
    return made


def answered(
    dialect: str, body: Mapping[str, Any], message: Mapping[str, Any], texts: Sequence[tuple[Recalled, str]]
) -> dict[str, Any]:
    """Return the request that goes on after an answer of recalls, each with its text."""
    turns: list[Any] = []
    if dialect == "chat":
        said = message["choices"][0]["message"]
        turns.append({"role": "assistant", "content": said.get("content"), "tool_calls": said["tool_calls"]})
        turns += [{"role": "tool", "tool_call_id": call.id, "content": text} for call, text in texts]
        return {**body, "messages": [*body["messages"], *turns]}
    if dialect == "responses":
        turns = _items(message["output"], stored=body.get("store") is not False)
        turns += [{"type": "function_call_output", "call_id": call.id, "output": text} for call, text in texts]
        return {**body, "input": [*body["input"], *turns]}
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": text} for call, text in texts]
    turns = [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": results}]
    return {**body, "messages": [*body["messages"], *turns]}


def billed_together(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the last of several answers with the usage of all."""
    usage: Any = None
    for answer in answers:
        usage = summed(usage, answer.get("usage"))
    return {**answers[-1], **({} if usage is None else {"usage": usage})}


def _items(output: Sequence[Any], *, stored: bool) -> list[Any]:
    """Return an answer's items as input; of what the provider has not stored, reasoning only where it is all there."""
    return [
        {key: value for key, value in item.items() if key != "status" and (stored or key != "id")}
        for item in map(as_dict, output)
        if stored or item.get("type") != "reasoning" or item.get("encrypted_content")
    ]


def _choice_without(choice: Mapping[str, Any]) -> dict[str, Any]:
    said = as_dict(choice.get("message"))
    calls = as_list(said.get("tool_calls"))
    left = [call for call in calls if not _is_ours(call)]
    if left or not calls:
        return {**choice, "message": {**said, **({"tool_calls": left} if left else {})}}
    said = {key: value for key, value in said.items() if key != "tool_calls"}
    why = choice.get("finish_reason")
    return {
        **choice,
        "message": {**said, "content": said.get("content") or ""},
        "finish_reason": "stop" if why == "tool_calls" else why,
    }


def _is_ours(call: object) -> bool:
    return bool(_name_of(as_dict(call)) == RECALL)


def _ours(calls: Sequence[tuple[Any, Any, Any]]) -> list[Recalled]:
    if any(name != RECALL or not isinstance(told, str) for told, name, _ in calls):
        return []
    return [Recalled(told, _text(as_dict(given).get("reference"))) for told, _, given in calls]


def _text(value: Any) -> str:
    """Return a reference as it was given, a value that is no text as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _name_of(tool: Mapping[str, Any]) -> Any:
    inner = as_dict(tool.get("function")) or as_dict(tool.get("custom"))
    return inner.get("name") or tool.get("name")
