"""Chat requests as messages requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict
from llmsaver.wire.translate_schema import check_schema
from llmsaver.wire.translate_terms import (
    CALL_ID,
    DEFAULT_MAX_TOKENS,
    EFFORTS,
    Untranslatable,
    limit_of,
    objects,
    refuse_others,
)
from llmsaver.wire.translate_tools import messages_tools, tool_use_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["messages_request"]

_SAME = ("model", "stream", "top_p")
_TOLD = frozenset({
    *_SAME,
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "service_tier",
    "stop",
    "temperature",
    "tool_choice",
    "tools",
    "user",
    # Labels of completions that are stored (those that are, are refused), and hints that change no answer.
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "stream_options",
})  # fmt: skip
# What says no more than leaving it out.
_NEUTRAL: dict[str, Any] = {
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "store": (False,),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
}
_IMAGE = re.compile(r"data:(image/(?:jpeg|png|gif|webp));base64,(.+)", re.DOTALL)
# Breakpoints change no answer, and nobody reads a thought of an earlier turn that is not signed.
_HINTS = ("prompt_cache_breakpoint", "cache_control", "reasoning_content", "reasoning")


def messages_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat request as a messages request; raises ``Untranslatable`` where it has no equal."""
    given = dict(body)
    refuse_others(given, "", _TOLD, _NEUTRAL)
    limits = [given[key] for key in ("max_completion_tokens", "max_tokens") if given.get(key) is not None]
    told = {key: given[key] for key in _SAME if given.get(key) is not None}
    told["max_tokens"] = limit_of(limits[0], "max_completion_tokens") if limits else DEFAULT_MAX_TOKENS
    return told | _messages(given.get("messages")) | _sampling(given) | _output(given) | messages_tools(given)


def _sampling(given: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    temperature, stop, tier = given.get("temperature"), given.get("stop"), given.get("service_tier")
    if temperature is not None:
        if not isinstance(temperature, int | float) or not 0 <= temperature <= 1:
            raise Untranslatable(f"temperature is outside the messages dialect's 0 to 1: {temperature!r}")
        told["temperature"] = temperature
    if stop:
        told["stop_sequences"] = [stop] if isinstance(stop, str) else stop
        if not all(isinstance(word, str) and word.strip() for word in told["stop_sequences"]):
            raise Untranslatable(f"stop has no equal in the messages dialect, which stops at no white space: {stop!r}")
    if tier == "default":
        told["service_tier"] = "standard_only"
    elif tier not in (None, "auto"):
        raise Untranslatable(f"service_tier has no equal in the messages dialect: {tier!r}")
    user = given.get("safety_identifier") or given.get("user")
    return told | ({"metadata": {"user_id": user}} if user else {})


def _output(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return how much thought and which form is asked for."""
    told: dict[str, Any] = {}
    config: dict[str, Any] = {}
    effort, wanted = given.get("reasoning_effort"), as_dict(given.get("response_format"))
    if effort == "none":
        told["thinking"] = {"type": "disabled"}
    elif str(effort) in EFFORTS:
        config["effort"] = effort
    elif effort is not None:
        raise Untranslatable(f"reasoning_effort has no equal in the messages dialect: {effort!r}")
    if wanted.get("type") == "json_schema":
        config["format"] = {"type": "json_schema", "schema": _schema(as_dict(wanted.get("json_schema")))}
    elif wanted.get("type") not in (None, "text"):
        raise Untranslatable(f"response_format has no equal in the messages dialect: {wanted['type']!r}")
    return told | ({"output_config": config} if config else {})


def _schema(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema; what is said about it moves into it, its name says nothing to a model."""
    refuse_others(named, "response_format.json_schema.", ("name", "description", "schema", "strict"))
    schema = check_schema("messages", named.get("schema"), "response_format.json_schema.schema")
    return {"description": named["description"], **schema} if named.get("description") else schema


def _messages(given: Any) -> dict[str, Any]:
    """Return ``system`` and ``messages``; turns of one role that follow each other become one."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(objects(given, "messages")):
        where, role = f"messages[{index}]", str(message.get("role"))
        if role in ("system", "developer"):
            if turns:
                raise Untranslatable(f"{where} has no equal in the messages dialect: instructions after the first turn")
            system += _said(message, where, ("role", "content"))
        elif role in _BLOCKS:
            _add(turns, role, _BLOCKS[role](message, where))
        else:
            raise Untranslatable(f"{where}.role has no equal in the messages dialect: {role!r}")
    if not turns or turns[0]["role"] != "user" or turns[-1]["role"] != "user":
        raise Untranslatable("messages have no equal in the messages dialect: they do not begin and end with the user")
    for turn in turns:
        turn["content"] = _plain(turn["content"])
    return {"messages": turns} | ({"system": _plain(system)} if system else {})


def _add(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    speaker = "assistant" if role == "assistant" else "user"
    if not blocks:
        return
    if not turns or turns[-1]["role"] != speaker:
        turns.append({"role": speaker, "content": blocks})
        return
    before = turns[-1]["content"]
    if blocks[0]["type"] == "tool_result" and before[-1]["type"] != "tool_result":
        raise Untranslatable("messages have no equal in the messages dialect: a tool's result after a user's text")
    before += blocks


def _plain(blocks: list[dict[str, Any]]) -> Any:
    """Return one text as a string, anything else as it is."""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _user(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    return _said(message, where, ("role", "content"), images=True)


def _result(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    blocks = _said(message, where, ("role", "content", "tool_call_id"))
    called = message.get("tool_call_id")
    if not isinstance(called, str) or not CALL_ID.fullmatch(called):
        raise Untranslatable(f"{where}.tool_call_id is none that the messages dialect takes: {called!r}")
    result = {"type": "tool_result", "tool_use_id": called}
    return [result | ({"content": _plain(blocks)} if blocks else {})]


def _assistant(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    blocks = _said(message, where, ("role", "content", "refusal", "tool_calls"))
    if str(message.get("refusal") or "").strip():
        blocks.append({"type": "text", "text": message["refusal"]})
    calls = objects(message.get("tool_calls"), f"{where}.tool_calls")
    return [*blocks, *(tool_use_of(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls))]


_BLOCKS = {"user": _user, "tool": _result, "assistant": _assistant}


def _said(
    message: Mapping[str, Any], where: str, known: tuple[str, ...], *, images: bool = False
) -> list[dict[str, Any]]:
    """Return the content as blocks; blank text, which the messages dialect refuses, holds nothing and is left out."""
    refuse_others(message, f"{where}.", (*known, *_HINTS))
    content = message.get("content")
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content and content.strip() else []
    blocks = []
    for index, part in enumerate(objects(content, f"{where}.content")):
        at, kind = f"{where}.content[{index}]", part.get("type")
        if kind in ("text", "refusal"):
            refuse_others(part, f"{at}.", ("type", kind, *_HINTS))
            if str(part.get(kind) or "").strip():
                blocks.append({"type": "text", "text": part[kind]})
        elif kind == "image_url" and images:
            blocks.append(_image(part, at))
        else:
            raise Untranslatable(f"{at}.type has no equal in the messages dialect: {kind!r}")
    return blocks


def _image(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    refuse_others(part, f"{where}.", ("type", "image_url", *_HINTS))
    image = as_dict(part.get("image_url"))
    refuse_others(image, f"{where}.image_url.", ("url",), {"detail": ("auto",)})
    url = str(image.get("url"))
    inline = _IMAGE.fullmatch(url)
    if inline is not None:
        source = {"type": "base64", "media_type": inline[1], "data": inline[2]}
    elif url.startswith(("https://", "http://")):
        source = {"type": "url", "url": url}
    else:
        raise Untranslatable(f"{where}.image_url.url has no equal in the messages dialect: {url[:40]!r}")
    return {"type": "image", "source": source}
