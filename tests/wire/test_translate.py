"""Requests: one meaning as each vendor writes it, there and back, and nothing that breaks the translation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import anthropic.types
import openai.types.chat.completion_create_params
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from llmsaver.testing.validation import refuse_body
from llmsaver.wire.translate import Untranslatable, request_to

CHAT: TypeAdapter[Any] = TypeAdapter(openai.types.chat.completion_create_params.CompletionCreateParams)
MESSAGES: TypeAdapter[Any] = TypeAdapter(anthropic.types.MessageCreateParams)

USER = {"role": "user", "content": "hi"}
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}

words = st.text(min_size=1, max_size=12).filter(str.strip)
names = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(st.text(max_size=6), values, max_size=3)


@dataclass(frozen=True)
class Exchange:
    """What the user says (texts and images), what the assistant answers, what it calls and what comes back."""

    asked: list[tuple[str, str]]
    said: list[str]
    calls: list[tuple[str, dict[str, Any], str]]


@dataclass(frozen=True)
class Meaning:
    """A request in no dialect."""

    exchanges: list[Exchange]
    last: list[tuple[str, str]]
    system: list[str]
    most: int
    temperature: float | None
    stops: list[str]
    effort: str | None
    choice: str | None
    parallel: bool
    user: str | None
    strict: bool
    form: bool
    stream: bool
    tools: list[str]

    @property
    def serial(self) -> bool:
        """Whether it forbids calls side by side, where there may be calls at all."""
        return not self.parallel and self.choice not in ("none", None)


parts = st.tuples(st.just("text"), words) | st.tuples(st.sampled_from(["url", "base64"]), names)
spoken = st.lists(parts, min_size=1, max_size=3)
calls = st.lists(st.tuples(names, arguments, st.text(max_size=8)), max_size=3)
exchanges = st.builds(Exchange, spoken, st.lists(words, max_size=2), calls).filter(
    lambda one: bool(one.said or one.calls)
)
meanings = st.builds(
    Meaning,
    exchanges=st.lists(exchanges, max_size=3),
    last=spoken,
    system=st.lists(words, max_size=2),
    most=st.integers(1, 100_000),
    temperature=st.none() | st.floats(0, 1),
    stops=st.lists(words, max_size=4),
    effort=st.sampled_from([None, "none", "low", "medium", "high", "xhigh", "max"]),
    choice=st.sampled_from([None, "auto", "any", "none", "tool"]),
    parallel=st.booleans(),
    user=st.none() | words,
    strict=st.booleans(),
    form=st.booleans(),
    stream=st.booleans(),
    tools=st.lists(names, unique=True, max_size=3),
)


def as_chat(meant: Meaning) -> dict[str, Any]:
    """Write a request as OpenAI's documentation does."""
    body = {
        "model": "m",
        "messages": _chat_turns(meant),
        "max_completion_tokens": meant.most,
        "temperature": meant.temperature,
        "stop": meant.stops or None,
        "reasoning_effort": meant.effort,
        "user": meant.user,
    }
    if meant.form:
        named = {"name": "answer", "schema": WEATHER, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    if meant.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if meant.tools:
        strict = {"strict": True} if meant.strict else {}
        named_choice = {"type": "function", "function": {"name": meant.tools[0]}}
        choices = {"auto": "auto", "any": "required", "none": "none", "tool": named_choice}
        body["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": WEATHER, **strict}} for name in meant.tools
        ]
        body["tool_choice"] = choices.get(str(meant.choice))
        body["parallel_tool_calls"] = False if meant.serial else None
    return {key: value for key, value in body.items() if value is not None}


def _chat_turns(meant: Meaning) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    if meant.system:
        told.append({"role": "system", "content": _one([{"type": "text", "text": text} for text in meant.system])})
    for number, exchange in enumerate(meant.exchanges):
        said = _one([{"type": "text", "text": text} for text in exchange.said]) or None
        answer: dict[str, Any] = {"role": "assistant", "content": said}
        calls = [
            {
                "id": f"call_{number}_{index}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(given, ensure_ascii=False)},
            }
            for index, (name, given, _) in enumerate(exchange.calls)
        ]
        told.append({"role": "user", "content": _one([_chat_part(*part) for part in exchange.asked])})
        told.append(answer | ({"tool_calls": calls} if calls else {}))
        told += [
            {"role": "tool", "tool_call_id": f"call_{number}_{index}", "content": result if result.strip() else ""}
            for index, (_, _, result) in enumerate(exchange.calls)
        ]
    return [*told, {"role": "user", "content": _one([_chat_part(*part) for part in meant.last])}]


def as_messages(meant: Meaning) -> dict[str, Any]:
    """Write a request as Anthropic's documentation does."""
    config = {
        "effort": None if meant.effort == "none" else meant.effort,
        "format": {"type": "json_schema", "schema": WEATHER} if meant.form else None,
    }
    body = {
        "model": "m",
        "messages": _messages_turns(meant),
        "max_tokens": meant.most,
        "system": _one([{"type": "text", "text": text} for text in meant.system]) or None,
        "temperature": meant.temperature,
        "stop_sequences": meant.stops or None,
        "thinking": {"type": "disabled"} if meant.effort == "none" else None,
        "output_config": {key: value for key, value in config.items() if value is not None} or None,
        "metadata": {"user_id": meant.user} if meant.user else None,
        "stream": meant.stream or None,
    }
    if meant.tools:
        strict = {"strict": True} if meant.strict else {}
        choice = {"type": meant.choice} | ({"name": meant.tools[0]} if meant.choice == "tool" else {})
        body["tools"] = [{"name": name, "input_schema": WEATHER, **strict} for name in meant.tools]
        if meant.choice:
            body["tool_choice"] = choice | ({"disable_parallel_tool_use": True} if meant.serial else {})
    return {key: value for key, value in body.items() if value is not None}


def _messages_turns(meant: Meaning) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, exchange in enumerate(meant.exchanges):
        asked = [_block(*part) for part in exchange.asked]
        said = [{"type": "text", "text": text} for text in exchange.said]
        uses = [
            {"type": "tool_use", "id": f"call_{number}_{index}", "name": name, "input": given}
            for index, (name, given, _) in enumerate(exchange.calls)
        ]
        turns.append({"role": "user", "content": _one([*results, *asked])})
        turns.append({"role": "assistant", "content": _one([*said, *uses])})
        results = [
            {"type": "tool_result", "tool_use_id": f"call_{number}_{index}"}
            | ({"content": text} if text.strip() else {})
            for index, (_, _, text) in enumerate(exchange.calls)
        ]
    return [*turns, {"role": "user", "content": _one([*results, *(_block(*part) for part in meant.last)])}]


def _one(blocks: list[dict[str, Any]]) -> Any:
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _chat_part(kind: str, said: str) -> dict[str, Any]:
    if kind == "text":
        return {"type": "text", "text": said}
    url = f"https://example.com/{said}" if kind == "url" else f"data:image/png;base64,{said}"
    return {"type": "image_url", "image_url": {"url": url}}


def _block(kind: str, said: str) -> dict[str, Any]:
    if kind == "text":
        return {"type": "text", "text": said}
    source = {"type": "base64", "media_type": "image/png", "data": said}
    if kind == "url":
        source = {"type": "url", "url": f"https://example.com/{said}"}
    return {"type": "image", "source": source}


def _valid(dialect: str, body: dict[str, Any]) -> None:
    refused = refuse_body(dialect, body)
    assert refused is None, refused
    checked = (CHAT if dialect == "chat" else MESSAGES).validate_python(body)
    for name in ("messages", "tools", "system"):
        if name in checked and not isinstance(checked[name], str):
            list(checked[name])  # iterables are checked as they are read


@settings(deadline=None, max_examples=80)
@given(meanings)
def test_both_dialects_say_the_same(meant: Meaning) -> None:
    chat, messages = as_chat(meant), as_messages(meant)
    before = json.dumps([chat, messages])
    to_messages = request_to("messages", chat, source="chat")
    to_chat = request_to("chat", messages, source="messages")
    assert to_messages == messages
    assert to_chat == chat
    assert json.dumps([chat, messages]) == before
    _valid("messages", to_messages)
    _valid("chat", to_chat)


@settings(deadline=None, max_examples=80)
@given(meanings)
def test_a_round_trip_keeps_the_meaning(meant: Meaning) -> None:
    chat, messages = as_chat(meant), as_messages(meant)
    assert request_to("chat", request_to("messages", chat, source="chat"), source="messages") == chat
    assert request_to("messages", request_to("chat", messages, source="messages"), source="chat") == messages


loose = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=5)}),
        st.fixed_dictionaries(
            {"role": st.just("user"), "content": st.lists(parts.map(lambda part: _chat_part(*part)))}
        ),
        st.fixed_dictionaries({"role": st.just("assistant"), "content": st.none() | st.text(max_size=5)}),
        st.fixed_dictionaries({"role": st.just("developer"), "content": st.text(max_size=5)}),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(loose)
def test_however_turns_follow_each_other_one_translation_says_it_all(messages: list[dict[str, Any]]) -> None:
    try:
        once = request_to("messages", {"model": "m", "messages": messages}, source="chat")
    except Untranslatable:
        return
    _valid("messages", once)
    said = [text for message in messages for text in _texts(message["content"])]
    kept = [text for turn in [{"content": once.get("system")}, *once["messages"]] for text in _texts(turn["content"])]
    assert kept == [text for text in said if text.strip()]
    assert request_to("messages", request_to("chat", once, source="messages"), source="chat") == once


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or [] if part["type"] == "text"]


noise = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.floats()
    | st.sampled_from(["", "text", "tool", "function", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("role", "content", "type", "text", "name", "id", "function", "tool_calls", "input", "source"),
                    *("image_url", "url", "schema", "json_schema", "format", "effort", "properties", "$ref", "strict"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
KEYS = [
    *("max_tokens", "messages", "metadata", "n", "output_config", "parallel_tool_calls", "reasoning_effort", "system"),
    *("response_format", "service_tier", "stop", "stop_sequences", "stream", "temperature", "thinking", "tool_choice"),
    *("tools", "user", "anything"),
]


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["chat", "messages"]), st.dictionaries(st.sampled_from(KEYS), noise, max_size=6), st.booleans())
def test_nonsense_is_refused_or_passed_on_but_never_breaks(source: str, body: dict[str, Any], usual: bool) -> None:
    if usual:
        body = {"max_tokens": 5, **body, "messages": [*_list(body.get("messages")), USER]}
    try:
        told = request_to("chat" if source == "messages" else "messages", body, source=source)
    except Untranslatable:
        return
    assert told["messages"]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
