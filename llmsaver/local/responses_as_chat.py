"""Requests of the responses dialect as chat requests.

llama-server's own /v1/responses gives no reason for an end and no indices in streams, without which OpenAI's SDK cannot
put them together, so it is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.errors import LocalModelError
from llmsaver.wire.payload import as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["responses_as_chat"]

# Said in other words below, or without a meaning for a local model.
_OWN = frozenset({
    "background",
    "context_management",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "text",
    "tool_choice",
    "tools",
    "truncation",
    "user",
})  # fmt: skip
_STATE = ("previous_response_id", "conversation", "prompt", "background")


def responses_as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a responses request as a chat request; keys that neither dialect knows (llama.cpp's own) stay."""
    for key in _STATE:
        if body.get(key):
            raise LocalModelError(f"local models keep nothing between calls: leave {key} out and send the whole input")
    chat = {key: value for key, value in body.items() if key not in _OWN}
    instructions = body.get("instructions")
    system = [{"role": "system", "content": instructions}] if instructions else []
    chat["messages"] = [*system, *_turns(body.get("input"))]
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = body["max_output_tokens"]
    if "message.output_text.logprobs" in as_list(body.get("include")) or body.get("top_logprobs"):
        chat["logprobs"] = True
    wanted = as_dict(as_dict(body.get("text")).get("format"))
    if wanted.get("type") == "json_schema":
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": wanted.get("name", "answer"), "schema": wanted.get("schema", {})},
        }
    elif wanted.get("type") == "json_object":
        chat["response_format"] = {"type": "json_object"}
    if body.get("tools"):
        chat["tools"] = [_tool(tool) for tool in as_list(body["tools"])]
    if body.get("tool_choice") is not None:
        chat["tool_choice"] = _choice(body["tool_choice"])
    return chat


def _tool(tool: Any) -> dict[str, Any]:
    given = as_dict(tool)
    if given.get("type") != "function":
        raise LocalModelError(f"local models use function tools only, not {given.get('type') or tool!r}")
    return {"type": "function", "function": {key: value for key, value in given.items() if key != "type"}}


def _choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("type") == "allowed_tools":
        tools = [
            {"type": "function", "function": {"name": as_dict(tool).get("name")}}
            for tool in as_list(choice.get("tools"))
        ]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": tools}}
    return choice


def _turns(given: Any) -> list[dict[str, Any]]:
    """Return the chat messages of an input; what the assistant says and calls in a row is one message there."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    turns: list[dict[str, Any]] = []
    for item in map(as_dict, as_list(given)):
        kind = item.get("type", "message")
        if kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
            if not turns or turns[-1]["role"] != "assistant":
                turns.append({"role": "assistant", "content": None})
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            turns[-1].setdefault("tool_calls", []).append(call)
        elif kind == "function_call_output":
            turns.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _text(item.get("output"))})
        elif kind == "message":
            turns.append({"role": item.get("role"), "content": _text(item.get("content"))})
        elif kind != "reasoning":
            raise LocalModelError(f"local models read messages, function calls and their outputs, not {kind!r} items")
    return turns


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in map(as_dict, as_list(content)))
