"""A request's body as a judge sees it: last user text, instructions, tools, schema, and what it needs of a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.router.asked_tools import ToolsAsked, tools_asked
from llmsaver.router.views import Asked
from llmsaver.router.weight import MEDIA, weight
from llmsaver.wire.payload import as_dict, as_list, count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["asked_of", "forced_tool"]

_SYSTEM_ROLES = frozenset({"system", "developer"})
_RESULT_ROLES = frozenset({"tool", "function"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_AUDIO_PARTS = frozenset({"input_audio", "audio", "video", "video_url"})
_TURNS = {"chat": "messages", "responses": "input", "messages": "messages"}
_CAPS = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
# What the model reads; everything else of a body is about the call.
_PROMPT_KEYS = (
    "messages",
    "input",
    "system",
    "instructions",
    "tools",
    "functions",
    "response_format",
    "text",
    "output_config",
    "output_format",
)
_LOGPROBS = "message.output_text.logprobs"


@dataclass(slots=True)
class _Read:
    """What the turns say, while they are read; ``loop``: the last of them carries a tool's result."""

    system: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    loop: bool = False


def asked_of(dialect: str, body: Mapping[str, Any]) -> Asked:
    """Return what a request asks; of a body that makes no sense as much as can be read, never an error.

    A user turn that carries tools' results is no user text: it goes on with the turn it belongs to. ``needs`` may also
    hold "audio" and "hosted_tools" (tools that run at the provider, or that only its own models know).
    """
    read = _Read()
    for key in ("system", "instructions"):
        read.system.append(_text(body.get(key), read.needs))
    turns = body.get(_TURNS.get(dialect, "messages"))
    if isinstance(turns, str):
        read.users.append(turns)
    for turn in as_list(turns):
        _take(turn, read)
    tools = tools_asked(body)
    schema, is_json = _format(body)
    read.needs |= _needs(body, tools, schema)
    return Asked(
        text=read.users[-1] if read.users else "",
        system="\n".join(filter(None, read.system)),
        turns=tuple(read.users[:-1]),
        tools=tools.schemas,
        tool_choice=tools.choice,
        schema=schema,
        json=is_json,
        needs=frozenset(read.needs),
        prompt_bytes=sum(weight(body.get(key)) for key in _PROMPT_KEYS),
        max_output=_cap(dialect, body),
        in_tool_loop=read.loop,
    )


def forced_tool(asked: Asked) -> str | None:
    """Return the tool that must be called, "" where any will do, None where the model is free; in every dialect."""
    choice = asked.tool_choice
    if choice in ("required", "any"):
        return ""
    if not isinstance(choice, dict):
        return None
    kind = choice.get("type")
    if kind == "any":
        return ""
    if kind == "allowed_tools":
        return (
            "" if {"mode": "required"}.items() <= {**choice, **as_dict(choice.get("allowed_tools"))}.items() else None
        )
    if kind in ("function", "custom", "tool"):
        name = as_dict(choice.get(kind)).get("name") or choice.get("name")
        return name if isinstance(name, str) else None
    return None


def _take(turn: Any, read: _Read) -> None:
    """Add one message or input item to what was read."""
    if not isinstance(turn, dict):
        return
    role, kind = str(turn.get("role") or ""), str(turn.get("type") or "message")
    content = turn.get("content")
    if role in _RESULT_ROLES or kind.endswith("_output") or _has_result(content):
        _text(content if role or kind == "message" else turn.get("output"), read.needs)
        read.loop = True
        return
    text = _text(content, read.needs)
    if role in _SYSTEM_ROLES:
        # Instructions in mid-loop, as some agents add them, don't end it.
        read.system.append(text)
        return
    read.loop = False
    if role == "user":
        read.users.append(text)


def _has_result(content: Any) -> bool:
    return any(str(part.get("type", "")).endswith("tool_result") for part in _parts(content))


def _text(content: Any, needs: set[str]) -> str:
    """Return the text of a message's content, and note what its other parts need."""
    if isinstance(content, str):
        return content
    texts = []
    for part in _parts(content):
        kind = part.get("type")
        if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in _AUDIO_PARTS:
            needs.add("audio")
        elif kind in MEDIA:
            needs.add("images")
        elif str(kind).endswith("tool_result"):
            _text(part.get("content"), needs)
    return "\n".join(texts)


def _parts(content: Any) -> Iterator[dict[str, Any]]:
    return (part for part in as_list(content) if isinstance(part, dict) and isinstance(part.get("type", ""), str))


def _format(body: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """Return the schema that the answer must keep to, and whether it must be JSON."""
    given = (
        body.get("response_format"),
        as_dict(body.get("text")).get("format"),
        as_dict(body.get("output_config")).get("format"),
        body.get("output_format"),
    )
    for each in map(as_dict, given):
        if each.get("type") == "json_schema":
            schema = as_dict(each.get("json_schema")).get("schema", each.get("schema"))
            return (schema if isinstance(schema, dict) else None), True
        if each.get("type") == "json_object":
            return None, True
    return None, False


def _needs(body: Mapping[str, Any], tools: ToolsAsked, schema: object) -> set[str]:
    needs = set()
    if tools.schemas:
        needs.add("tools")
    if tools.hosted:
        needs.add("hosted_tools")
    if schema is not None:
        needs.add("json_schema")
    if body.get("logprobs") or body.get("top_logprobs") or _LOGPROBS in as_list(body.get("include")):
        needs.add("logprobs")
    if "audio" in as_list(body.get("modalities")):
        needs.add("audio")
    return needs


def _cap(dialect: str, body: Mapping[str, Any]) -> int | None:
    given = (count(body.get(name)) for name in _CAPS.get(dialect, ()))
    return next((each for each in given if each is not None), None)
