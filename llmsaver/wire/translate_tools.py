"""Tools, and how they may be used, from one dialect to the other."""

from __future__ import annotations

import json
from typing import Any

from llmsaver.wire.payload import as_dict
from llmsaver.wire.translate_schema import check_schema
from llmsaver.wire.translate_terms import CALL_ID, NAME, Untranslatable, json_object, objects, refuse_others

__all__ = ["call_of", "chat_tools", "messages_tools", "tool_use_of"]

_TO_MESSAGES = {"auto": "auto", "required": "any", "none": "none"}
_TO_CHAT = {told: kind for kind, told in _TO_MESSAGES.items()}
# How long a tool is cached and how finely its input is streamed changes no answer.
_HINTS = ("cache_control", "eager_input_streaming")
_USE = ("type", "id", "name", "input", "cache_control")
_USE_NEUTRAL = {"caller": ({"type": "direct"},)}
_NEUTRAL = {"allowed_callers": (["direct"],), "defer_loading": (False,)}


def messages_tools(body: dict[str, Any]) -> dict[str, Any]:
    """Return ``tools`` and ``tool_choice`` of a messages request for those of a chat request."""
    tools = [_tool_for_messages(tool, f"tools[{i}]") for i, tool in enumerate(objects(body.get("tools"), "tools"))]
    choice, parallel = body.get("tool_choice"), body.get("parallel_tool_calls")
    if not tools:
        return _without_tools(choice in (None, "auto", "none"), choice)
    told: dict[str, Any] = {"tools": tools}
    if isinstance(choice, str) and choice in _TO_MESSAGES:
        told["tool_choice"] = {"type": _TO_MESSAGES[choice]}
    elif isinstance(choice, dict) and choice.get("type") == "function":
        told["tool_choice"] = {
            "type": "tool",
            "name": _name(as_dict(choice.get("function")).get("name"), "tool_choice"),
        }
    elif choice is not None:
        raise Untranslatable(f"tool_choice has no equal in the messages dialect: {choice!r}")
    if parallel is False and choice != "none":
        told["tool_choice"] = {**told.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}
    return told


def chat_tools(body: dict[str, Any]) -> dict[str, Any]:
    """Return ``tools``, ``tool_choice`` and ``parallel_tool_calls`` of a chat request for those of a messages one."""
    tools = [_tool_for_chat(tool, f"tools[{i}]") for i, tool in enumerate(objects(body.get("tools"), "tools"))]
    choice = as_dict(body.get("tool_choice"))
    kind = None if choice.get("type") is None else str(choice["type"])
    if not tools:
        return _without_tools(kind in (None, "auto", "none"), choice)
    told: dict[str, Any] = {"tools": tools}
    if kind == "tool":
        named = {"name": _name(choice.get("name"), "tool_choice.name")}
        told["tool_choice"] = {"type": "function", "function": named}
    elif kind in _TO_CHAT:
        told["tool_choice"] = _TO_CHAT[kind]
    elif body.get("tool_choice") is not None:
        raise Untranslatable(f"tool_choice has no equal in the chat dialect: {body['tool_choice']!r}")
    if choice.get("disable_parallel_tool_use") and kind != "none":
        told["parallel_tool_calls"] = False
    return told


def tool_use_of(call: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a chat tool call of an earlier turn as a content block; raises ``Untranslatable``."""
    refuse_others(call, f"{where}.", ("id", "type", "function", "index"))
    function = as_dict(call.get("function"))
    if call.get("type", "function") != "function":
        raise Untranslatable(f"{where}.type has no equal in the messages dialect: {call['type']!r}")
    if not isinstance(call.get("id"), str) or not CALL_ID.fullmatch(call["id"]):
        raise Untranslatable(f"{where}.id is none that the messages dialect takes: {call.get('id')!r}")
    given = json_object(function.get("arguments"), f"{where}.function.arguments")
    name = _name(function.get("name"), f"{where}.function.name")
    return {"type": "tool_use", "id": call["id"], "name": name, "input": given}


def call_of(block: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a content block of an earlier turn as a chat tool call; raises ``Untranslatable``."""
    refuse_others(block, f"{where}.", _USE, _USE_NEUTRAL)
    if not isinstance(block.get("id"), str):
        raise Untranslatable(f"{where}.id is none that the chat dialect takes: {block.get('id')!r}")
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    named = {"name": _name(block.get("name"), f"{where}.name"), "arguments": arguments}
    return {"id": block["id"], "type": "function", "function": named}


def _without_tools(harmless: bool, choice: Any) -> dict[str, Any]:
    if not harmless:
        raise Untranslatable(f"tool_choice asks for a tool, and tools is empty: {choice!r}")
    return {}


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Untranslatable(f"{where} is no tool's name in both dialects: {name!r}")
    return name


def _tool_for_messages(tool: dict[str, Any], where: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise Untranslatable(f"{where}.type has no equal in the messages dialect: {tool.get('type')!r}")
    refuse_others(tool, f"{where}.", ("type", "function", *_HINTS))
    function = as_dict(tool.get("function"))
    refuse_others(function, f"{where}.function.", ("name", "description", "parameters", "strict"))
    parameters = function.get("parameters") or {"properties": {}}
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        raise Untranslatable(f"{where}.function.parameters is no schema of an object: {parameters!r}")
    told = {"name": _name(function.get("name"), f"{where}.function.name")}
    if function.get("description"):
        told["description"] = function["description"]
    schema = {"type": "object", **parameters}
    if function.get("strict"):
        check_schema("messages", schema, f"{where}.function.parameters")
        return {**told, "input_schema": schema, "strict": True}
    return {**told, "input_schema": schema}


def _tool_for_chat(tool: dict[str, Any], where: str) -> dict[str, Any]:
    if tool.get("type") not in (None, "custom"):
        raise Untranslatable(f"{where}.type has no equal in the chat dialect: {tool['type']!r}")
    refuse_others(tool, f"{where}.", ("type", "name", "description", "input_schema", "strict", *_HINTS), _NEUTRAL)
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise Untranslatable(f"{where}.input_schema is no JSON schema: {schema!r}")
    function: dict[str, Any] = {"name": _name(tool.get("name"), f"{where}.name"), "parameters": schema}
    if tool.get("description"):
        function["description"] = tool["description"]
    if tool.get("strict"):
        check_schema("chat", schema, f"{where}.input_schema")
        function["strict"] = True
    return {"type": "function", "function": function}
