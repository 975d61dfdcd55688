"""Requests: the ways in which one dialect says what the other has one word for, and what has no equal at all."""

from __future__ import annotations

from typing import Any

import openai.types.chat
import pytest

from llmsaver.testing.validation import refuse_body
from llmsaver.wire.translate import DEFAULT_MAX_TOKENS, Untranslatable, request_to

USER = {"role": "user", "content": "hi"}
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "description": "Looks out.", "parameters": WEATHER}}
MESSAGES_TOOL = {"name": "weather", "description": "Looks out.", "input_schema": WEATHER}

ERROR = {"type": "tool_result", "tool_use_id": "a", "content": "no such city", "is_error": True}
RESULTS = [
    (ERROR, "Error: no such city"),
    ({**ERROR, "content": "Error 404"}, "Error 404"),
    ({**ERROR, "content": None}, "Error: "),
    ({**ERROR, "content": [{"type": "text", "text": "no"}]}, "Error: no"),
    (
        {**ERROR, "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "such"}]},
        [{"type": "text", "text": "Error:"}, {"type": "text", "text": "no"}, {"type": "text", "text": "such"}],
    ),
    ({**ERROR, "is_error": False}, "no such city"),
]


@pytest.mark.parametrize(("result", "told"), RESULTS)
def test_a_tools_error_is_said_in_its_text(result: dict[str, Any], told: Any) -> None:
    use = {"type": "tool_use", "id": "a", "name": "weather", "input": {}, "caller": {"type": "direct"}}
    body = {
        "model": "m",
        "max_tokens": 5,
        "tools": [MESSAGES_TOOL],
        "messages": [USER, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}],
    }
    chat = request_to("chat", body, source="messages")
    assert chat["messages"][-1] == {"role": "tool", "tool_call_id": "a", "content": told}
    assert refuse_body("chat", chat) is None


def test_results_come_before_what_the_user_says_with_them() -> None:
    uses = [{"type": "tool_use", "id": key, "name": "weather", "input": {}} for key in "ab"]
    results = [{"type": "tool_result", "tool_use_id": key, "content": key} for key in "ab"]
    content = [{"type": "text", "text": "and now?"}, *results]
    turns = [USER, {"role": "assistant", "content": uses}, {"role": "user", "content": content}]
    chat = request_to("chat", {"model": "m", "max_tokens": 5, "messages": turns}, source="messages")
    assert [message["role"] for message in chat["messages"]] == ["user", "assistant", "tool", "tool", "user"]
    back = request_to("messages", chat, source="chat")
    assert back["messages"][-1]["content"] == [*results, {"type": "text", "text": "and now?"}]


CHAT_WAYS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"max_tokens": DEFAULT_MAX_TOKENS}),
    ({"max_tokens": 7}, {"max_tokens": 7}),
    ({"max_tokens": 7, "max_completion_tokens": 9}, {"max_tokens": 9}),
    ({"stop": "END"}, {"stop_sequences": ["END"]}),
    ({"safety_identifier": "s", "user": "u"}, {"metadata": {"user_id": "s"}}),
    ({"service_tier": "default"}, {"service_tier": "standard_only"}),
    ({"n": 1, "logprobs": False, "store": False, "logit_bias": {}, "service_tier": "auto"}, {}),
    (
        {"frequency_penalty": 0, "presence_penalty": 0.0, "seed": None, "modalities": ["text"], "verbosity": "medium"},
        {},
    ),
    ({"metadata": {"a": "b"}, "prompt_cache_key": "k", "response_format": {"type": "text"}}, {}),
    ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}, {}),
    ({"tools": [CHAT_TOOL]}, {"tools": [MESSAGES_TOOL]}),
    (
        {"tools": [CHAT_TOOL], "parallel_tool_calls": False},
        {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    (
        {
            "tools": [{"type": "function", "function": {"name": "now"}}],
            "tool_choice": "none",
            "parallel_tool_calls": False,
        },
        {
            "tools": [{"name": "now", "input_schema": {"type": "object", "properties": {}}}],
            "tool_choice": {"type": "none"},
        },
    ),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": WEATHER, "description": "d"},
            }
        },
        {"output_config": {"format": {"type": "json_schema", "schema": {"description": "d", **WEATHER}}}},
    ),
]


@pytest.mark.parametrize(("more", "told"), CHAT_WAYS)
def test_chat_has_more_than_one_way_to_say_it(more: dict[str, Any], told: dict[str, Any]) -> None:
    found = request_to("messages", {"model": "m", "messages": [USER], **more}, source="chat")
    assert found == {"model": "m", "messages": [USER], "max_tokens": DEFAULT_MAX_TOKENS, **told}
    assert refuse_body("messages", found) is None


def test_an_answer_of_the_sdk_is_sent_back_as_it_was_dumped() -> None:
    said = openai.types.chat.ChatCompletionMessage.model_validate({"role": "assistant", "refusal": "I can't."})
    dumped = {**said.model_dump(), "annotations": [], "reasoning_content": "hm"}
    parts = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}, {"type": "text", "text": " "}]}
    found = request_to("messages", {"model": "m", "messages": [USER, dumped, parts, USER]}, source="chat")
    texts = [{"type": "text", "text": "I can't."}, {"type": "text", "text": "No."}]
    assert found["messages"] == [USER, {"role": "assistant", "content": texts}, USER]


MESSAGES_WAYS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"cache_control": {"type": "ephemeral"}, "service_tier": "auto", "speed": "standard", "container": None}, {}),
    ({"service_tier": "standard_only"}, {"service_tier": "default"}),
    ({"tools": [], "tool_choice": {"type": "auto"}}, {}),
    ({"metadata": {}}, {}),
    ({"tools": [MESSAGES_TOOL | {"type": "custom", "cache_control": {"type": "ephemeral"}}]}, {"tools": [CHAT_TOOL]}),
    (
        {
            "tools": [MESSAGES_TOOL | {"allowed_callers": ["direct"], "defer_loading": False}],
            "tool_choice": {"type": "none"},
        },
        {"tools": [CHAT_TOOL], "tool_choice": "none"},
    ),
]


@pytest.mark.parametrize(("more", "told"), MESSAGES_WAYS)
def test_messages_has_more_than_one_way_to_say_it(more: dict[str, Any], told: dict[str, Any]) -> None:
    found = request_to("chat", {"model": "m", "max_tokens": 5, "messages": [USER], **more}, source="messages")
    assert found == {"model": "m", "messages": [USER], "max_completion_tokens": 5, **told}
    assert refuse_body("chat", found) is None


def test_instructions_between_turns_stay_where_they_are_in_chat() -> None:
    note = {"role": "system", "content": [{"type": "text", "text": "be short", "cache_control": {"type": "ephemeral"}}]}
    body = {"model": "m", "max_tokens": 5, "messages": [USER, {"role": "assistant", "content": []}, USER, note]}
    found = request_to("chat", body, source="messages")
    assert found["messages"] == [
        USER,
        {"role": "assistant", "content": ""},
        USER,
        {"role": "system", "content": "be short"},
    ]


def _asked(content: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [USER, {"role": role, "content": content}, *([USER] if role != "user" else [])]}


def _tool(**more: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}, **more}}]}


def _history(**more: Any) -> dict[str, Any]:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, **more}
    return {"messages": [USER, {"role": "assistant", "tool_calls": [call]}, USER]}


CHAT_ONLY: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "n has"),
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"seed": 1}, "seed"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ({"store": True}, "store"),
    ({"verbosity": "low"}, "verbosity"),
    ({"audio": {"voice": "x"}}, "audio"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"temperature": 1.5}, "temperature"),
    ({"max_tokens": 0}, "max_completion_tokens"),
    ({"stop": ["\n"]}, "stop"),
    ({"reasoning_effort": "minimal"}, "reasoning_effort"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
        "schema",
    ),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "schema"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [CHAT_TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
    (_tool(name="no spaces"), "tools[0].function.name"),
    (_tool(parameters={"type": "string"}), "tools[0].function.parameters"),
    (_tool(strict=True), "tools[0].function.parameters"),
    (_history(id="a b"), "messages[1].tool_calls[0].id"),
    (_history(type="custom"), "messages[1].tool_calls[0].type"),
    (_history(function={"name": "f", "arguments": "{"}), "messages[1].tool_calls[0].function.arguments"),
    (_history(function={"name": "f", "arguments": '{"a": NaN}'}), "messages[1].tool_calls[0].function.arguments"),
    (_history(function={"name": "f", "arguments": "[1]"}), "messages[1].tool_calls[0].function.arguments"),
    ({"messages": []}, "begin and end"),
    ({"messages": "hi"}, "messages is no list"),
    ({"messages": [{"role": "assistant", "content": "hi"}, USER]}, "begin and end"),
    ({"messages": [USER, {"role": "assistant", "content": "hi"}]}, "begin and end"),
    ({"messages": [{"role": "system", "content": "hi"}]}, "begin and end"),
    ({"messages": [USER, {"role": "system", "content": "hi"}, USER]}, "messages[1]"),
    ({"messages": [USER, {"role": "function", "name": "f", "content": "hi"}]}, "messages[1].role"),
    ({"messages": [{**USER, "name": "Ann"}]}, "messages[0].name"),
    ({"messages": [USER, {"role": "tool", "tool_call_id": "a", "content": "x"}]}, "a tool's result after"),
    ({"messages": [USER, {"role": "tool", "tool_call_id": 3, "content": "x"}]}, "messages[1].tool_call_id"),
    (_asked([{"type": "input_audio", "input_audio": {}}]), "messages[1].content[0].type"),
    (_asked([{"type": "file", "file": {"file_id": "f"}}]), "messages[1].content[0].type"),
    (_asked([{"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}}]), "image_url.detail"),
    (_asked([{"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AA"}}]), "image_url.url"),
    (_asked([{"type": "image_url", "image_url": {"url": "https://x"}}], "assistant"), "messages[1].content[0].type"),
]


@pytest.mark.parametrize(("more", "named"), CHAT_ONLY)
def test_what_messages_cannot_say_is_named(more: dict[str, Any], named: str) -> None:
    with pytest.raises(Untranslatable) as found:
        request_to("messages", {"model": "m", "messages": [USER], **more}, source="chat")
    assert named in found.value.why


DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
MESSAGES_ONLY: list[tuple[dict[str, Any], str]] = [
    ({"top_k": 5}, "top_k"),
    ({"container": "c"}, "container"),
    ({"mcp_servers": [{"name": "x"}]}, "mcp_servers"),
    ({"context_management": {"edits": [1]}}, "context_management"),
    ({"inference_geo": "us"}, "inference_geo"),
    ({"speed": "fast"}, "speed"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
    ({"thinking": {"type": "adaptive"}}, "thinking"),
    ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "thinking"),
    ({"output_config": {"effort": "utmost"}}, "output_config.effort"),
    ({"output_config": {"task_budget": 3}}, "output_config.task_budget"),
    ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format"),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        "output_config.format.schema",
    ),
    ({"service_tier": "else"}, "service_tier"),
    ({"stop_sequences": ["a", "b", "c", "d", "e"]}, "stop_sequences"),
    ({"metadata": {"user_id": "u", "else": 1}}, "metadata.else"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": None}, "max_tokens"),
    ({"system": [DOCUMENT]}, "system[0].type"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ({"tools": [MESSAGES_TOOL | {"defer_loading": True}]}, "tools[0].defer_loading"),
    ({"tools": [MESSAGES_TOOL | {"input_examples": [{"city": "x"}]}]}, "tools[0].input_examples"),
    ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
    ({"tools": [MESSAGES_TOOL | {"name": "a" * 65}]}, "tools[0].name"),
    ({"tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True}]}, "tools[0].input_schema"),
    ({"tools": [MESSAGES_TOOL], "tool_choice": {"type": "some"}}, "tool_choice"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"messages": []}, "do not end"),
    ({"messages": [USER, {"role": "assistant", "content": "The answer is"}]}, "do not end"),
    ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0].role"),
    (_asked([THOUGHT, {"type": "text", "text": "x"}], "assistant"), "messages[1].content[0].type"),
    (_asked([{"type": "server_tool_use", "id": "x"}], "assistant"), "messages[1].content[0].type"),
    (_asked([USE, {"type": "text", "text": "x"}], "assistant"), "text after a call"),
    (_asked([{**USE, "id": None}], "assistant"), "messages[1].content[0].id"),
    (_asked([{**USE, "caller": {"type": "code"}}], "assistant"), "messages[1].content[0].caller"),
    (_asked([{"type": "text", "text": "x", "citations": [{"type": "c"}]}], "assistant"), "citations"),
    (_asked([DOCUMENT]), "messages[1].content[0].type"),
    (_asked([{"type": "image", "source": {"type": "file", "file_id": "f"}}]), "messages[1].content[0].source"),
    (_asked([{"type": "tool_result", "content": "x"}]), "tool_use_id"),
    (
        _asked([{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": {}}]}]),
        "messages[1].content[0].content[0].type",
    ),
]


@pytest.mark.parametrize(("more", "named"), MESSAGES_ONLY)
def test_what_chat_cannot_say_is_named(more: dict[str, Any], named: str) -> None:
    with pytest.raises(Untranslatable) as found:
        request_to("chat", {"model": "m", "max_tokens": 5, "messages": [USER], **more}, source="messages")
    assert named in found.value.why


@pytest.mark.parametrize(("source", "dialect"), [("responses", "chat"), ("chat", "embeddings"), ("chat", "chat")])
def test_only_these_two_are_translated(source: str, dialect: str) -> None:
    with pytest.raises(Untranslatable, match=f"from the {source} dialect to the {dialect}"):
        request_to(dialect, {}, source=source)


def test_a_refusal_stays_short() -> None:
    with pytest.raises(Untranslatable) as found:
        request_to("messages", {"messages": [USER], "seed": "x" * 500}, source="chat")
    assert len(found.value.why) < 160
