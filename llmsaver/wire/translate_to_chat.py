"""Messages requests as chat requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict
from llmsaver.wire.translate_schema import check_schema
from llmsaver.wire.translate_terms import EFFORTS, Untranslatable, limit_of, objects, refuse_others
from llmsaver.wire.translate_tools import call_of, chat_tools

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["chat_request"]

_SAME = ("model", "stream", "temperature", "top_p")
_TOLD = frozenset({
    *_SAME,
    "cache_control",  # changes no answer
    "max_tokens",
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
_NEUTRAL: dict[str, Any] = {"diagnostics": ({"previous_message_id": None},), "speed": ("standard",)}
_MOST_STOPS = 4
_TEXT = ("type", "text", "cache_control")


def chat_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a messages request as a chat request; raises ``Untranslatable`` where it has no equal.

    A stream is asked for its usage, which a messages stream always says.
    """
    given = dict(body)
    refuse_others(given, "", _TOLD, _NEUTRAL)
    told = {key: given[key] for key in _SAME if given.get(key) is not None}
    told["max_completion_tokens"] = limit_of(given.get("max_tokens"), "max_tokens")
    if given.get("stream") is True:
        told["stream_options"] = {"include_usage": True}
    told["messages"] = _messages(given)
    return told | _terms(given) | _output(given) | chat_tools(given)


def _terms(given: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    metadata, tier, stops = as_dict(given.get("metadata")), given.get("service_tier"), given.get("stop_sequences")
    refuse_others(metadata, "metadata.", ("user_id",))
    if metadata.get("user_id"):
        told["user"] = metadata["user_id"]
    if stops:
        if not isinstance(stops, list) or len(stops) > _MOST_STOPS:
            raise Untranslatable(f"stop_sequences has no equal in the chat dialect, which has {_MOST_STOPS} at most")
        told["stop"] = stops
    if tier == "standard_only":
        told["service_tier"] = "default"
    elif tier not in (None, "auto"):
        raise Untranslatable(f"service_tier has no equal in the chat dialect: {tier!r}")
    return told


def _output(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return how much thought and which form is asked for."""
    told: dict[str, Any] = {}
    config, thinking = as_dict(given.get("output_config")), as_dict(given.get("thinking"))
    refuse_others(config, "output_config.", ("effort", "format"))
    effort, wanted = config.get("effort"), as_dict(config.get("format"))
    if thinking:
        # Thoughts come back signed, to be sent again: only their absence has an equal.
        if thinking.get("type") != "disabled" or effort is not None:
            raise Untranslatable(f"thinking has no equal in the chat dialect: {thinking.get('type')!r}")
        told["reasoning_effort"] = "none"
    elif str(effort) in EFFORTS:
        told["reasoning_effort"] = effort
    elif effort is not None:
        raise Untranslatable(f"output_config.effort has no equal in the chat dialect: {effort!r}")
    if wanted:
        if wanted.get("type") != "json_schema":
            raise Untranslatable(f"output_config.format has no equal in the chat dialect: {wanted.get('type')!r}")
        schema = check_schema("chat", wanted.get("schema"), "output_config.format.schema")
        named = {"name": "answer", "schema": schema, "strict": True}
        told["response_format"] = {"type": "json_schema", "json_schema": named}
    return told


def _messages(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    if given.get("system"):
        told.append({"role": "system", "content": _content(given["system"], "system")})
    turns = objects(given.get("messages"), "messages")
    for index, turn in enumerate(turns):
        where, role = f"messages[{index}]", str(turn.get("role"))
        refuse_others(turn, f"{where}.", ("role", "content", "cache_control"))
        if role not in _TURNS:
            raise Untranslatable(f"{where}.role has no equal in the chat dialect: {role!r}")
        told += _TURNS[role](_blocks(turn.get("content"), f"{where}.content"), f"{where}.content")
    if not turns or turns[-1].get("role") == "assistant":
        raise Untranslatable("messages have no equal in the chat dialect: they do not end with the user")
    return told


def _blocks(content: Any, where: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else objects(content, where)


def _content(content: Any, where: str, *, images: bool = False) -> Any:
    """Return blocks as the content of a chat message: one text as a string."""
    blocks = _blocks(content, where)
    parts = [_part(block, f"{where}[{index}]", images=images) for index, block in enumerate(blocks)]
    if not parts:
        return ""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _part(block: Mapping[str, Any], where: str, *, images: bool) -> dict[str, Any]:
    kind = block.get("type")
    if kind == "text" and isinstance(block.get("text"), str):
        refuse_others(block, f"{where}.", _TEXT)
        return {"type": "text", "text": block["text"]}
    if kind == "image" and images:
        refuse_others(block, f"{where}.", ("type", "source", "cache_control"))
        return {"type": "image_url", "image_url": {"url": _url(as_dict(block.get("source")), where)}}
    raise Untranslatable(f"{where}.type has no equal in the chat dialect: {kind!r}")


def _url(source: Mapping[str, Any], where: str) -> str:
    if source.get("type") == "url" and isinstance(source.get("url"), str):
        return str(source["url"])
    if source.get("type") == "base64" and isinstance(source.get("data"), str):
        return f"data:{source.get('media_type')};base64,{source['data']}"
    raise Untranslatable(f"{where}.source has no equal in the chat dialect: {source.get('type')!r}")


def _user(blocks: list[dict[str, Any]], where: str) -> Iterator[dict[str, Any]]:
    """Yield the messages of one turn: results of tools are messages of their own, before what the user says."""
    rest = []
    for index, block in enumerate(blocks):
        if block.get("type") == "tool_result":
            yield _result(block, f"{where}[{index}]")
        else:
            rest.append(block)
    if rest or not blocks:
        yield {"role": "user", "content": _content(rest, where, images=True)}


def _result(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a tool's result; that it is an error is said in its text, for lack of another place."""
    refuse_others(block, f"{where}.", ("type", "tool_use_id", "content", "is_error", "cache_control"))
    if not isinstance(block.get("tool_use_id"), str):
        raise Untranslatable(f"{where}.tool_use_id is none that the chat dialect takes: {block.get('tool_use_id')!r}")
    content = _content(block.get("content"), f"{where}.content")
    if block.get("is_error"):
        texts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if not texts[0]["text"].lower().startswith("error"):
            content = [{"type": "text", "text": "Error:"}, *texts] if len(texts) > 1 else f"Error: {content}"
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}


def _assistant(blocks: list[dict[str, Any]], where: str) -> Iterator[dict[str, Any]]:
    """Yield one message; what is said after a call of a tool has no place in it."""
    calls = [call_of(block, f"{where}[{i}]") for i, block in enumerate(blocks) if block.get("type") == "tool_use"]
    if any(block.get("type") == "tool_use" for block in blocks[: len(blocks) - len(calls)]):
        raise Untranslatable(f"{where} has no equal in the chat dialect: text after a call of a tool")
    said = _content(blocks[: len(blocks) - len(calls)], where)
    yield (
        {"role": "assistant", "content": said or None, "tool_calls": calls}
        if calls
        else {
            "role": "assistant",
            "content": said,
        }
    )


def _system(blocks: list[dict[str, Any]], where: str) -> Iterator[dict[str, Any]]:
    yield {"role": "system", "content": _content(blocks, where)}


_TURNS = {"user": _user, "assistant": _assistant, "system": _system}
