"""Which calls a cache may answer, and which answers it may keep; every refusal says why."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from llmsaver.core.stack import layer_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from llmsaver.core.request import Request

__all__ = ["When", "calls_tools", "policy_of", "unfit", "unkept"]

When = Literal["deterministic", "always"]

# What runs in the application, and so depends on nothing but the request; all else runs at the provider, in a world
# that changes: searches, files, containers, other servers.
_CLIENT_TOOLS = frozenset({"function", "custom", "local_shell", "apply_patch"})
_MESSAGES_CLIENT_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_", "function")
_ENDED = {
    "chat": frozenset({"stop", "tool_calls", "function_call"}),
    "messages": frozenset({"end_turn", "tool_use", "stop_sequence"}),
}


def unfit(request: Request, when: When) -> str | None:
    """Return why this call's answer is not its request's alone, or None for one that a cache may answer.

    ``previous_response_id`` is none of the reasons: a response never changes.
    """
    return None if request.dialect == "embeddings" else next(_reasons(request.dialect, request.body, when), None)


def _reasons(dialect: str, body: Mapping[str, Any], when: When) -> Iterator[str]:
    if when == "deterministic" and not _is_deterministic(body):
        yield "neither temperature 0 nor a seed"
    if body.get("background") is True:
        yield "runs in the background"
    if body.get("conversation") is not None:
        yield "continues a conversation that the provider keeps"
    prompt = body.get("prompt")
    if dialect == "responses" and prompt is not None and not (isinstance(prompt, dict) and prompt.get("version")):
        yield "names a stored prompt without its version"
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        yield "asks for sound, which the provider keeps for an hour only"
    if body.get("web_search_options") is not None or body.get("mcp_servers") or body.get("container"):
        yield "uses tools that run at the provider"
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not _runs_here(dialect, kind):
            yield f"uses tools that run at the provider ({str(kind)[:40]})"


def _is_deterministic(body: Mapping[str, Any]) -> bool:
    temperature, seed = body.get("temperature"), body.get("seed")
    return (isinstance(temperature, int | float) and temperature == 0 and temperature is not False) or (
        isinstance(seed, int) and not isinstance(seed, bool)
    )


def _runs_here(dialect: str, kind: object) -> bool:
    """Return whether a tool of this type runs in the application."""
    if kind is None or (isinstance(kind, str) and kind in _CLIENT_TOOLS):
        return True
    return dialect == "messages" and str(kind).startswith(_MESSAGES_CLIENT_TOOLS)


def unkept(dialect: str, message: Mapping[str, Any]) -> str | None:
    """Return why an answer is not to be repeated (cut short, refused, filtered, empty), or None for a good one."""
    try:
        return _UNKEPT[dialect](message)
    except (KeyError, TypeError, AttributeError, IndexError):
        return "not in the form of its dialect"


def _chat(message: Mapping[str, Any]) -> str | None:
    choices = message["choices"]
    if not choices:
        return "no choice"
    for choice in choices:
        if choice["finish_reason"] not in _ENDED["chat"]:
            return f"finish_reason {choice['finish_reason']}"
        said = choice["message"]
        if said.get("refusal"):
            return "refused"
        if not (said.get("content") or said.get("tool_calls") or said.get("function_call")):
            return "empty"
    return None


def _responses(message: Mapping[str, Any]) -> str | None:
    if message["status"] != "completed" or message.get("error") or message.get("incomplete_details"):
        return f"status {message['status']}"
    items = message["output"]
    for item in items:
        for part in item.get("content") or ():
            if part.get("type") == "refusal":
                return "refused"
    said = [item for item in items if item.get("type") != "reasoning"]
    return None if said else "empty"


def _messages(message: Mapping[str, Any]) -> str | None:
    if message["stop_reason"] not in _ENDED["messages"]:
        return f"stop_reason {message['stop_reason']}"
    return None if message["content"] else "empty"


_UNKEPT = {"chat": _chat, "responses": _responses, "messages": _messages}


def calls_tools(dialect: str, message: Mapping[str, Any]) -> bool:
    """Return whether an answer asks for a tool: only an identical whole request may have it again."""
    try:
        if dialect == "chat":
            said = [choice["message"] for choice in message["choices"]]
            return any(each.get("tool_calls") or each.get("function_call") for each in said)
        parts = message["output" if dialect == "responses" else "content"]
        return any(str(part.get("type")).endswith(("_call", "tool_use")) for part in parts)
    except (KeyError, TypeError, AttributeError):
        return True


def policy_of(beneath: Iterable[object]) -> str:
    """Return a hash of the layers beneath that change requests or answers; "" where there are none.

    A layer says what counts of its configuration in its ``policy`` (a string); one of the application's that says
    nothing counts by its name, one of the library's that says nothing changes nothing.
    """
    told = []
    for layer in beneath:
        own = getattr(layer, "policy", None)
        if isinstance(own, str):
            told.append(f"{layer_name(layer)}={own}")
        elif not type(layer).__module__.startswith("llmsaver.middleware."):
            told.append(layer_name(layer))
    if not told:
        return ""
    return blake2b("\n".join(told).encode("utf-8", "replace"), digest_size=8, person=b"llmsaver").hexdigest()
