"""Whole answers, and what answers say about their end and their tokens, from one dialect to the other."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from llmsaver.wire.chat import chat_usage
from llmsaver.wire.messages import messages_usage
from llmsaver.wire.payload import as_dict, as_list
from llmsaver.wire.translate_terms import CALL_ID, Untranslatable, objects, refuse_others

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.usage import Usage

__all__ = [
    "SILENT",
    "call_id",
    "chat_answer",
    "chat_id",
    "chat_service_tier",
    "finish_of",
    "message_id",
    "messages_answer",
    "stop_of",
    "usage_for_chat",
    "usage_for_messages",
]

# A turn that a server paused, and a full context, leave the answer unfinished, as a limit does.
_FINISH = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "refusal": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}
_STOP = {"content_filter": "refusal", "length": "max_tokens", "tool_calls": "tool_use"}
# Blocks that a chat caller, who asked for no thoughts, does not get; they could not be sent back without a signature.
SILENT = frozenset({"thinking", "redacted_thinking"})
_TIERS = {"standard": "default", "priority": "priority"}
_TIERS_BACK = {told: tier for tier, told in _TIERS.items()}


def finish_of(stop_reason: Any, calls: bool) -> str:
    """Return the chat dialect's reason for an end; an unknown one is a natural end."""
    reason = _FINISH.get(str(stop_reason), "stop")
    return "tool_calls" if calls and reason == "stop" else reason


def stop_of(choice: Mapping[str, Any], *, calls: bool, refused: bool) -> dict[str, Any]:
    """Return the three fields in which the messages dialect says why an answer ended.

    Which stop sequence it was is known only where a server names it (vLLM does, as the choice's ``stop_reason``); with
    others a stop sequence is ``end_turn``. A call that was forced ends with "stop" in chat.
    """
    reason = _STOP.get(str(choice.get("finish_reason")), "end_turn")
    word = choice.get("stop_reason") if isinstance(choice.get("stop_reason"), str) and reason == "end_turn" else None
    if reason == "end_turn":
        reason = "tool_use" if calls else "refusal" if refused else "stop_sequence" if word else reason
    details = {"type": "refusal", "category": None, "explanation": None} if reason == "refusal" else None
    return {"stop_reason": reason, "stop_sequence": word, "stop_details": details}


def usage_for_chat(usage: Usage) -> dict[str, Any]:
    """Return usage as chat says it: parts inside their totals."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def usage_for_messages(usage: Usage, service_tier: Any = None) -> dict[str, Any]:
    """Return usage as messages says it: cached tokens beside the others."""
    fresh = max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens)
    told: dict[str, Any] = {
        "input_tokens": fresh,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if str(service_tier) in _TIERS_BACK:
        told["service_tier"] = _TIERS_BACK[service_tier]
    return told


def chat_service_tier(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tier that served a messages answer as a field of a chat answer, where both have it."""
    tier = str(usage.get("service_tier"))
    return {"service_tier": _TIERS[tier]} if tier in _TIERS else {}


def chat_id(message_id: Any) -> str:
    """Return a message's id as a chat answer's."""
    return "chatcmpl-" + str(message_id or uuid.uuid4().hex).removeprefix("msg_")


def message_id(chat_id: Any) -> str:
    """Return a chat answer's id as a message's."""
    return "msg_" + str(chat_id or uuid.uuid4().hex).removeprefix("chatcmpl-")


def call_id(given: Any) -> str:
    """Return a call's id as it is where the messages dialect takes it back, else a new one."""
    return given if isinstance(given, str) and CALL_ID.fullmatch(given) else f"toolu_{uuid.uuid4().hex}"


def chat_answer(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as a chat completion; raises ``Untranslatable`` for content without an equal."""
    if not isinstance(message.get("content"), list):
        raise Untranslatable(f"content is no list of blocks: {message.get('content')!r}")
    said: list[str] = []
    calls: list[dict[str, Any]] = []
    for index, block in enumerate(objects(message.get("content"), "content")):
        kind = block.get("type")
        if kind == "text":
            refuse_others(block, f"content[{index}].", ("type", "text"))
            said.append(str(block.get("text") or ""))
        elif kind == "tool_use":
            calls.append(_call(block))
        elif str(kind) not in SILENT:
            raise Untranslatable(f"content[{index}].type has no equal in the chat dialect: {kind!r}")
    content = "".join(said)
    told: dict[str, Any] = {
        "role": "assistant",
        "content": content if content or not calls else None,
        "refusal": as_dict(message.get("stop_details")).get("explanation"),
    }
    if calls:
        told["tool_calls"] = calls
    reason = finish_of(message.get("stop_reason"), bool(calls))
    raw = as_dict(message.get("usage"))
    usage = messages_usage(raw)
    return {
        "id": chat_id(message.get("id")),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": message.get("model"),
        "choices": [{"index": 0, "message": told, "logprobs": None, "finish_reason": reason}],
        **({"usage": usage_for_chat(usage)} if usage is not None else {}),
        **chat_service_tier(raw),
    }


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    cut_short = block.get("partial_json")
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    named = {"name": block.get("name"), "arguments": cut_short if isinstance(cut_short, str) else arguments}
    return {"id": block.get("id"), "type": "function", "function": named}


def messages_answer(completion: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat completion as a message; raises ``Untranslatable`` for content without an equal."""
    choices = objects(completion.get("choices"), "choices")
    if len(choices) != 1:
        raise Untranslatable(f"choices have no equal in the messages dialect: {len(choices)} of them")
    said = as_dict(choices[0].get("message"))
    if said.get("audio") or said.get("function_call"):
        what = "audio" if said.get("audio") else "function_call"
        raise Untranslatable(f"choices[0].message.{what} has no equal in the messages dialect")
    refusal = said.get("refusal")
    texts = [text for text in (said.get("content"), refusal) if isinstance(text, str) and text]
    calls = [_use(call, index) for index, call in enumerate(as_list(said.get("tool_calls")))]
    usage = chat_usage(as_dict(completion.get("usage")))
    told = {"usage": usage_for_messages(usage, completion.get("service_tier"))} if usage is not None else {}
    return {
        "id": message_id(completion.get("id")),
        "type": "message",
        "role": "assistant",
        "model": completion.get("model"),
        "content": [*({"type": "text", "text": text} for text in texts), *calls],
        **stop_of(choices[0], calls=bool(calls), refused=bool(refusal)),
        **told,
    }


def _use(call: Any, index: int) -> dict[str, Any]:
    """Return a call as a block; arguments that are no object travel beside an empty one, as what arrived of them."""
    given = as_dict(call)
    function = given.get("function")
    if not isinstance(function, dict):
        raise Untranslatable(f"choices[0].message.tool_calls[{index}] has no equal in the messages dialect: {call!r}")
    written = str(function.get("arguments") or "")
    block = {"type": "tool_use", "id": call_id(given.get("id")), "name": function.get("name")}
    try:
        value = json.loads(written) if written else {}
    except (ValueError, RecursionError):
        value = None
    return {**block, "input": value} if isinstance(value, dict) else {**block, "input": {}, "partial_json": written}
