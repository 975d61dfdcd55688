"""The tools that a request offers, whatever its dialect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ToolsAsked", "tools_asked"]

# Keys that switch on what runs at the provider.
_HOSTED_KEYS = ("mcp_servers", "web_search_options", "container", "search_parameters", "plugins")


@dataclass(slots=True)
class ToolsAsked:
    """The parameters' schema by tool name (None: free text, or known to the provider alone) and the choice as sent.

    ``hosted``: some of them run at the provider, or are known to its own models only.
    """

    schemas: dict[str, Any] = field(default_factory=dict)
    choice: Any = None
    hosted: bool = False


def tools_asked(body: Mapping[str, Any]) -> ToolsAsked:
    """Return the tools of a body; those of an older API (``functions``) in the form of today's."""
    asked = ToolsAsked(choice=body.get("tool_choice"), hosted=any(body.get(key) for key in _HOSTED_KEYS))
    for tool in as_list(body.get("tools")):
        if isinstance(tool, dict):
            _add(asked, tool)
    for function in as_list(body.get("functions")):
        if isinstance(function, dict):
            _add(asked, {"type": "function", **function})
    if asked.choice is None and body.get("functions"):
        asked.choice = _legacy(body.get("function_call"))
    return asked


def _add(asked: ToolsAsked, tool: dict[str, Any]) -> None:
    kind = tool.get("type", "custom" if "input_schema" in tool else "function")
    told = {**tool, **as_dict(tool.get("function" if kind == "function" else "custom"))}
    name = told.get("name")
    if kind not in ("function", "custom"):
        asked.hosted = True
        told = {}
    if isinstance(name, str) and name:
        schema = told.get("input_schema", told.get("parameters"))
        asked.schemas[name] = schema if isinstance(schema, dict) else None


def _legacy(choice: Any) -> Any:
    name = as_dict(choice).get("name")
    return {"type": "function", "function": {"name": name}} if name is not None else choice
