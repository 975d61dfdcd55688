"""Tools of a chat request to llama.cpp: a forced call becomes a JSON schema, and every call's arguments are checked.

llama-server ignores ``tool_choice`` "required" and a named tool, and, where a model's chat template knows no tools,
the tools themselves. So the model is told about them in words, its answer is bound to a schema, and ``Calls`` makes
real tool calls of it again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.errors import LocalModelError
from llmsaver.local.tools_schema import checker, grammar, one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llmsaver.local.tools_split import Form

__all__ = ["Plan", "plan"]

_FORCED = "Answer with a call of a tool. Write only JSON, nothing before or after it."
_ONE = "Write the arguments of the tool {name} as one JSON object that keeps to its parameters."
_SINGLE = 'Choose the tool and write {"name": its name, "arguments": its arguments}.'
_SEVERAL = 'Choose the tools and write a list of {"name": a tool\'s name, "arguments": its arguments}.'
_AUTO = (
    "You may use tools. To call one, write "
    '<tool_call>{"name": its name, "arguments": its arguments}</tool_call> and nothing else; otherwise just answer.'
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the answer to a request with tools is to be read.

    ``form`` is that of its text, None where the server itself makes tool calls of it; ``checks`` are by tool name;
    ``forced`` says that an answer without a call is wrong.
    """

    checks: Mapping[str, Callable[[str], None]]
    form: Form | None = None
    name: str = ""
    forced: bool = False


def plan(body: Mapping[str, Any], *, knows_tools: bool) -> tuple[dict[str, Any], Plan | None]:
    """Return a chat body as the server can keep to it, and the plan for its answer, None where no tool is offered.

    ``knows_tools``: whether the model's template does. Raises ``LocalModelError`` for a choice that cannot be kept.
    """
    adapted = {key: value for key, value in body.items() if key not in {"tool_choice", "parallel_tool_calls"}}
    if body.get("functions") or body.get("function_call"):
        raise LocalModelError("local models know tools, not the older functions and function_call: use tools=")
    tools = _functions(adapted.pop("tools", None))
    if not knows_tools and isinstance(body.get("messages"), list):
        adapted["messages"] = [_in_words(message) for message in body["messages"]]
    offered = tools
    mode, tools = _choice(body.get("tool_choice"), tools)
    if mode == "none" or not tools:
        if mode == "required":
            raise LocalModelError("tool_choice asks for a tool that tools= does not name")
        return adapted, None
    checks = {name: checker(name, _parameters(tool)) for name, tool in tools.items()}
    if knows_tools:
        # All of them where the schema binds the call, so that the prompt begins like that of the calls before.
        shown = tools if mode == "auto" else offered
        adapted["tools"] = [{"type": "function", "function": tool} for tool in shown.values()]
    parallel = body.get("parallel_tool_calls") is True
    if mode == "auto":
        if knows_tools:
            return adapted | ({"parallel_tool_calls": parallel} if parallel else {}), Plan(checks, "tagged")
        return _told(adapted, _AUTO, tools), Plan(checks, "tagged")
    return _forced(adapted, tools, checks, parallel=parallel, knows_tools=knows_tools)


def _forced(
    body: dict[str, Any],
    tools: Mapping[str, dict[str, Any]],
    checks: Mapping[str, Callable[[str], None]],
    *,
    parallel: bool,
    knows_tools: bool,
) -> tuple[dict[str, Any], Plan]:
    """Return a body whose answer can only be a call, and its plan."""
    adapted = {key: value for key, value in body.items() if key not in {"response_format", "grammar"}}
    if len(tools) == 1 and not parallel and not knows_tools:
        [(name, tool)] = tools.items()
        adapted["json_schema"] = grammar(name, _parameters(tool))
        return _told(adapted, f"{_FORCED} {_ONE.format(name=name)}", tools), Plan(checks, "bare", name, forced=True)
    adapted["json_schema"] = one_of({name: _parameters(tool) for name, tool in tools.items()}, parallel=parallel)
    planned = Plan(checks, "several" if parallel else "single", forced=True)
    if knows_tools:
        # The template shows the tools, and the server must not look for calls in a text that is bound already.
        return {**adapted, "tool_choice": "none"}, planned
    return _told(adapted, f"{_FORCED} {_SEVERAL if parallel else _SINGLE}", tools), planned


def _functions(tools: Any) -> dict[str, dict[str, Any]]:
    """Return the functions of ``tools`` by name."""
    named = {}
    for tool in tools if isinstance(tools, list) else []:
        function = (
            tool.get("function") if isinstance(tool, dict) and tool.get("type", "function") == "function" else None
        )
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            kind = tool.get("type") if isinstance(tool, dict) else tool
            raise LocalModelError(f"local models use function tools only, not {kind!r}")
        named[function["name"]] = function
    return named


def _parameters(tool: Mapping[str, Any]) -> dict[str, Any]:
    parameters = tool.get("parameters")
    if parameters is None:
        return {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise LocalModelError(f"tool {tool['name']!r}: its parameters must be a JSON schema, not {parameters!r}")
    return parameters


def _choice(choice: Any, tools: dict[str, dict[str, Any]]) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the mode ("auto", "none" or "required") and the tools that may be called."""
    if choice is None:
        return "auto", tools
    if isinstance(choice, str) and choice in {"auto", "none", "required"}:
        return choice, tools
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function":
        name = choice.get("function", {}).get("name")
        return "required", {name: tools[name]} if name in tools else {}
    if kind == "allowed_tools":
        allowed = choice.get("allowed_tools", {})
        names = [tool.get("function", {}).get("name") for tool in allowed.get("tools", [])]
        return str(allowed.get("mode", "auto")), {name: tools[name] for name in names if name in tools}
    raise LocalModelError(f"tool_choice {choice!r} is none that local models know")


def _told(body: dict[str, Any], how: str, tools: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a body whose system message says how to call which tools."""
    shown = [
        json.dumps({"name": name, "description": tool.get("description", ""), "parameters": _parameters(tool)})
        for name, tool in tools.items()
    ]
    text = "\n".join([how, "Tools:", *shown])
    messages = list(body.get("messages") or [])
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    if first.get("role") not in {"system", "developer"}:
        return {**body, "messages": [{"role": "system", "content": text}, *messages]}
    content = first.get("content")
    joined = [*content, {"type": "text", "text": text}] if isinstance(content, list) else f"{content or ''}\n\n{text}"
    return {**body, "messages": [{**first, "content": joined}, *messages[1:]]}


def _in_words(message: Any) -> Any:
    """Return a message of a call's history as text: a template without tools would leave the call out in silence."""
    if not isinstance(message, dict):
        return message
    if message.get("role") == "tool":
        return {"role": "user", "content": f"<tool_response>{_text(message.get('content'))}</tool_response>"}
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        return message
    said = [_text(message.get("content"))] if message.get("content") else []
    told = [*said, *(_call_in_words(call.get("function", {})) for call in calls if isinstance(call, dict))]
    return {**{key: value for key, value in message.items() if key != "tool_calls"}, "content": "\n".join(told)}


def _call_in_words(function: Mapping[str, Any]) -> str:
    name, arguments = json.dumps(function.get("name")), function.get("arguments") or "{}"
    return f'<tool_call>{{"name": {name}, "arguments": {arguments}}}</tool_call>'


def _text(content: Any) -> str:
    """Return the text of a message's content, a string or a list of parts."""
    parts: Sequence[Any] = content if isinstance(content, list) else [{"text": content}]
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))
