"""Requests of the messages dialect as chat requests.

llama-server's own /v1/messages drops what it does not know (JSON schemas, adapters, seeds), so it is not used.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmsaver.errors import LocalModelError
from llmsaver.wire.payload import as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["messages_as_chat"]

# Said in other words below, or without a meaning for a local model.
_OWN = frozenset({
    "cache_control",
    "container",
    "context_management",
    "inference_geo",
    "mcp_servers",
    "messages",
    "metadata",
    "output_config",
    "service_tier",
    "stop_sequences",
    "system",
    "thinking",
    "tool_choice",
    "tools",
})  # fmt: skip
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def messages_as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a messages request as a chat request; keys that neither dialect knows (llama.cpp's own) stay."""
    chat = {key: value for key, value in body.items() if key not in _OWN}
    chat["messages"] = [
        *_system(body.get("system")),
        *(part for turn in as_list(body.get("messages")) for part in _turn(turn)),
    ]
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
        chat["verbose"] = True  # says which of them it was
    if body.get("tools"):
        chat["tools"] = [_tool(tool) for tool in as_list(body["tools"])]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        kind = choice.get("type")
        named = {"type": "function", "function": {"name": choice.get("name")}}
        chat["tool_choice"] = named if kind == "tool" else _CHOICES.get(str(kind), choice)
        if "disable_parallel_tool_use" in choice:
            chat["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]
    wanted = as_dict(as_dict(body.get("output_config")).get("format"))
    if wanted:
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": wanted.get("schema", {})},
        }
    thinking = as_dict(body.get("thinking")).get("type")
    if thinking is not None:
        asked = {"enable_thinking": thinking != "disabled"}
        chat["chat_template_kwargs"] = {**asked, **as_dict(body.get("chat_template_kwargs"))}
    return chat


def _system(system: Any) -> list[dict[str, Any]]:
    text = system if isinstance(system, str) else _text(system)
    return [{"role": "system", "content": text}] if text else []


def _tool(tool: Any) -> dict[str, Any]:
    """Return a tool of the caller's; one that Anthropic's servers run themselves has a type and no schema."""
    given = as_dict(tool)
    if given.get("type", "custom") != "custom" or not isinstance(given.get("input_schema"), dict):
        raise LocalModelError(f"local models use tools with an input_schema only, not {given.get('type') or tool!r}")
    function = {"name": given.get("name"), "parameters": given["input_schema"]}
    if given.get("description"):
        function["description"] = given["description"]
    return {"type": "function", "function": function}


def _turn(turn: Any) -> Iterator[dict[str, Any]]:
    """Yield the chat messages of one turn: results of tools are messages of their own there."""
    role, content = as_dict(turn).get("role"), as_dict(turn).get("content")
    if not isinstance(content, list):
        yield {"role": role, "content": content}
        return
    calls = [_call(block) for block in content if as_dict(block).get("type") == "tool_use"]
    for block in content:
        if as_dict(block).get("type") == "tool_result":
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _result(block)}
    text = _text(content)
    if calls:
        yield {"role": role, "content": text or None, "tool_calls": calls}
    elif text or not any(as_dict(block).get("type") == "tool_result" for block in content):
        yield {"role": role, "content": text}


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    return {"id": block.get("id"), "type": "function", "function": {"name": block.get("name"), "arguments": arguments}}


def _result(block: Mapping[str, Any]) -> str:
    content = block.get("content")
    text = content if isinstance(content, str) else _text(content)
    return f"Error: {text}" if block.get("is_error") else text


def _text(blocks: Any) -> str:
    """Return the text of content blocks; thinking of earlier turns is left out, as Anthropic's servers do."""
    return "".join(
        str(block.get("text") or "") for block in map(as_dict, as_list(blocks)) if block.get("type") == "text"
    )
