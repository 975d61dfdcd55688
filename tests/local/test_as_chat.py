"""Requests of the messages and responses dialects, in chat's words."""

from __future__ import annotations

from typing import Any

import pytest

from llmsaver.errors import LocalModelError
from llmsaver.local.messages_as_chat import messages_as_chat
from llmsaver.local.responses_as_chat import responses_as_chat

SCHEMA = {"type": "object"}


def call(number: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_messages_request() -> None:
    body = {
        "model": "m",
        "max_tokens": 5,
        "temperature": 0.5,
        "top_k": 3,
        "stream": True,
        "seed": 7,
        "system": [{"type": "text", "text": "Be ", "cache_control": {}}, {"type": "text", "text": "kind."}],
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
        "service_tier": "auto",
        "thinking": {"type": "disabled"},
        "tools": [
            {"name": "look", "description": "Look.", "input_schema": SCHEMA},
            {"name": "b", "input_schema": SCHEMA},
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert messages_as_chat(body) == {
        "model": "m",
        "max_tokens": 5,
        "temperature": 0.5,
        "top_k": 3,
        "stream": True,
        "seed": 7,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
        "stop": ["END"],
        "verbose": True,
        "chat_template_kwargs": {"enable_thinking": False},
        "tools": [
            {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": SCHEMA}},
            {"type": "function", "function": {"name": "b", "parameters": SCHEMA}},
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
        ({"type": "odd"}, {"type": "odd"}),
    ],
)
def test_how_a_tool_is_chosen(choice: Any, expected: Any) -> None:
    assert messages_as_chat({"tool_choice": choice})["tool_choice"] == expected


def test_a_messages_history_with_tools() -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "Well."},
                {"type": "tool_use", "id": "1", "name": "look", "input": {"q": "é"}},
                {"type": "tool_use", "id": "2", "name": "wait", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": "20 C"},
                {
                    "type": "tool_result",
                    "tool_use_id": "2",
                    "content": [{"type": "text", "text": "no"}],
                    "is_error": True,
                },
                {"type": "text", "text": "and now?"},
            ],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "3", "name": "wait"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "3"}]},
        {"role": "user", "content": []},
    ]
    assert messages_as_chat({"messages": turns})["messages"] == [
        {"role": "user", "content": "ab"},
        {
            "role": "assistant",
            "content": "Well.",
            "tool_calls": [call("1", "look", '{"q": "é"}'), call("2", "wait", "{}")],
        },
        {"role": "tool", "tool_call_id": "1", "content": "20 C"},
        {"role": "tool", "tool_call_id": "2", "content": "Error: no"},
        {"role": "user", "content": "and now?"},
        {"role": "assistant", "content": None, "tool_calls": [call("3", "wait", "{}")]},
        {"role": "tool", "tool_call_id": "3", "content": ""},
        {"role": "user", "content": ""},
    ]


@pytest.mark.parametrize("tool", [{"type": "web_search_20250305", "name": "w"}, {"name": "w"}, "odd"])
def test_tools_that_run_elsewhere_are_refused(tool: Any) -> None:
    with pytest.raises(LocalModelError, match="input_schema only"):
        messages_as_chat({"tools": [tool]})


def test_a_responses_request() -> None:
    body = {
        "model": "m",
        "instructions": "Be kind.",
        "input": "hi",
        "max_output_tokens": 5,
        "temperature": 0.5,
        "stream": True,
        "store": False,
        "metadata": {},
        "reasoning": {"effort": "low"},
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
        "tools": [{"type": "function", "name": "look", "parameters": SCHEMA, "strict": True}],
        "tool_choice": "required",
        "parallel_tool_calls": True,
        "lora": [],
    }
    assert responses_as_chat(body) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "temperature": 0.5,
        "stream": True,
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        "tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA, "strict": True}}],
        "tool_choice": "required",
        "parallel_tool_calls": True,
        "lora": [],
    }


@pytest.mark.parametrize(
    ("given", "key", "expected"),
    [
        ({"text": {"format": {"type": "json_object"}}}, "response_format", {"type": "json_object"}),
        ({"text": {"format": {"type": "text"}}}, "response_format", None),
        (
            {"tool_choice": {"type": "function", "name": "look"}},
            "tool_choice",
            {"type": "function", "function": {"name": "look"}},
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "a"}],
                }
            },
            "tool_choice",
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "a"}}]},
            },
        ),
        ({"tool_choice": {"type": "odd"}}, "tool_choice", {"type": "odd"}),
    ],
)
def test_details_of_a_responses_request(given: dict[str, Any], key: str, expected: Any) -> None:
    assert responses_as_chat(given).get(key) == expected


def test_a_responses_history_with_tools() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "wait"},
        {"type": "function_call_output", "call_id": "1", "output": "20 C"},
        {"type": "function_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "ok"}]},
        {"type": "function_call", "call_id": "3", "name": "look", "arguments": "{}"},
    ]
    assert responses_as_chat({"input": items})["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "No.", "tool_calls": [call("1", "look", "{}"), call("2", "wait", "{}")]},
        {"role": "tool", "tool_call_id": "1", "content": "20 C"},
        {"role": "tool", "tool_call_id": "2", "content": "ok"},
        {"role": "assistant", "content": None, "tool_calls": [call("3", "look", "{}")]},
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"input": "hi", "background": True}, "leave background out"),
        ({"input": "hi", "conversation": "c"}, "leave conversation out"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "not 'item_reference' items"),
        ({"input": "hi", "tools": [{"type": "web_search"}]}, "not 'web_search'"),
    ],
)
def test_what_it_cannot_do(body: dict[str, Any], says: str) -> None:
    with pytest.raises(LocalModelError, match=says):
        responses_as_chat(body)
