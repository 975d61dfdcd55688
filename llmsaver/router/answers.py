"""A provider's whole answer as a judge sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmsaver.router.views import Answer, ToolCall
from llmsaver.wire.payload import as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["answer_of"]

_FINISH = {
    "length": "length",
    "max_output_tokens": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "filter",
    "refusal": "refusal",
    "tool_calls": "tools",
    "function_call": "tools",
    "tool_use": "tools",
}


def answer_of(dialect: str, message: Mapping[str, Any]) -> Answer:
    """Return the answer in a whole message of ``dialect``; of several choices the first, of nonsense an empty one.

    A refusal that the provider names as one is the text, and the finish "refusal". ``logprobs`` is None where none
    were told; a token without one, or with one that is no number, is NaN there.
    """
    reader = {"chat": _chat, "responses": _responses, "messages": _messages}.get(dialect, _chat)
    return reader(message)


def _chat(message: Mapping[str, Any]) -> Answer:
    choice = next((each for each in as_list(message.get("choices")) if isinstance(each, dict)), {})
    said = as_dict(choice.get("message"))
    legacy = as_dict(said.get("function_call"))
    calls = [_named(legacy, "arguments")] if legacy else []
    for call in map(as_dict, as_list(said.get("tool_calls"))):
        kind, field = ("custom", "input") if "custom" in call else ("function", "arguments")
        calls.append(_named(as_dict(call.get(kind)), field))
    refusal = said.get("refusal")
    refused = isinstance(refusal, str) and bool(refusal)
    text = _joined(refusal if refused else said.get("content"))
    logprobs = as_dict(choice.get("logprobs"))
    told = as_list(logprobs.get("refusal" if refused else "content"))
    return Answer(text, tuple(calls), _finish(choice.get("finish_reason"), calls, refused), _logprobs(told))


def _responses(message: Mapping[str, Any]) -> Answer:
    texts: list[str] = []
    calls: list[ToolCall] = []
    logprobs: list[Any] = []
    refused = False
    for item in map(as_dict, as_list(message.get("output"))):
        kind = item.get("type")
        if kind == "function_call":
            calls.append(_named(item, "arguments"))
        elif kind == "custom_tool_call":
            calls.append(_named(item, "input"))
        for part in map(as_dict, as_list(item.get("content")) if kind == "message" else []):
            refused = refused or part.get("type") == "refusal"
            texts += _strings([part.get("refusal"), part.get("text")])
            logprobs += as_list(part.get("logprobs"))
    ended = as_dict(message.get("incomplete_details")).get("reason")
    return Answer("".join(texts), tuple(calls), _finish(ended, calls, refused), _logprobs(logprobs))


def _messages(message: Mapping[str, Any]) -> Answer:
    blocks = [as_dict(each) for each in as_list(message.get("content"))]
    calls = [_named(each, "input") for each in blocks if each.get("type") == "tool_use"]
    text = "".join(_strings(each.get("text") for each in blocks if each.get("type") == "text"))
    return Answer(text, tuple(calls), _finish(message.get("stop_reason"), calls, False))


def _named(call: Mapping[str, Any], field: str) -> ToolCall:
    name, arguments = call.get("name"), call.get(field)
    if not isinstance(arguments, str):
        arguments = _written({} if arguments is None else arguments)
    return ToolCall(name if isinstance(name, str) else "", arguments)


def _written(arguments: Any) -> str:
    """Return arguments that came as an object (in messages they do) as the text that the other dialects carry."""
    try:
        return json.dumps(arguments)
    except (TypeError, ValueError, RecursionError):
        return ""


def _finish(reason: Any, calls: list[ToolCall], refused: bool) -> str:
    told = _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
    if told in ("length", "filter", "refusal"):
        return told
    if refused:
        return "refusal"
    return "tools" if calls else "stop"


def _joined(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(_strings(as_dict(part).get("text") for part in as_list(content)))


def _strings(values: Iterable[Any]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))


def _logprobs(tokens: list[Any]) -> tuple[float, ...] | None:
    if not tokens:
        return None
    return tuple(_number(as_dict(token).get("logprob")) for token in tokens)


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
    except OverflowError:
        return float("nan")
