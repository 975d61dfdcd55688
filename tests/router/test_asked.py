"""Bodies of every dialect as what is asked."""

from __future__ import annotations

from typing import Any

import pytest

from llmsaver.router.asked import asked_of, forced_tool
from llmsaver.router.views import Asked
from llmsaver.router.weight import weight

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA = {"type": "object", "required": ["name"]}


def test_chat() -> None:
    body: dict[str, Any] = {
        "model": "auto",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "this?"},
                                         {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}],
        "tool_choice": "required",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        "max_completion_tokens": 50,
        "logprobs": True,
    }  # fmt: skip
    asked = asked_of("chat", body)
    assert (asked.text, asked.system, asked.turns) == ("What is\nthis?", "Be brief.", ("Hi",))
    assert asked.tools == {"weather": PARAMETERS}
    assert (asked.schema, asked.json, asked.max_output) == (SCHEMA, True, 50)
    assert asked.needs == {"tools", "images", "json_schema", "logprobs"}
    assert not asked.in_tool_loop
    assert forced_tool(asked) == ""
    assert 4_800 < asked.prompt_bytes < 6_000


def test_responses() -> None:
    body: dict[str, Any] = {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {"type": "function_call", "name": "weather", "arguments": "{}", "call_id": "1"},
            {"type": "function_call_output", "call_id": "1", "output": "sunny"},
        ],
        "tools": [{"type": "function", "name": "weather", "parameters": PARAMETERS}, {"type": "web_search"}],
        "tool_choice": {"type": "function", "name": "weather"},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
        "include": ["message.output_text.logprobs"],
        "max_output_tokens": 9,
    }
    asked = asked_of("responses", body)
    assert (asked.text, asked.system, asked.in_tool_loop) == ("Weather?", "Be brief.", True)
    assert asked.tools == {"weather": PARAMETERS}
    assert asked.needs == {"tools", "hosted_tools", "json_schema", "logprobs"}
    assert (asked.schema, asked.max_output, forced_tool(asked)) == (SCHEMA, 9, "weather")
    assert asked_of("responses", {"input": "Hi"}).text == "Hi"


def test_messages() -> None:
    picture = {"type": "image", "source": {"type": "base64", "data": "A" * 100_000}}
    body: dict[str, Any] = {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [{"type": "tool_use", "name": "weather", "input": {}, "id": "1"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [picture]},
                                         {"type": "text", "text": "<reminder>"}]},
        ],
        "tools": [{"name": "weather", "input_schema": PARAMETERS}, {"type": "bash_20250124", "name": "bash"}],
        "tool_choice": {"type": "any"},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "max_tokens": 7,
    }  # fmt: skip
    asked = asked_of("messages", body)
    assert (asked.text, asked.system, asked.in_tool_loop) == ("Weather?", "Be brief.", True)
    assert asked.tools == {"weather": PARAMETERS, "bash": None}
    assert asked.needs == {"tools", "hosted_tools", "images", "json_schema"}
    assert (asked.schema, asked.max_output, forced_tool(asked)) == (SCHEMA, 7, "")
    assert asked.prompt_bytes < 6_000


def test_a_user_turn_after_the_tools_is_a_new_one_and_instructions_are_not() -> None:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": []},
        {"role": "tool", "content": "x"},
        {"role": "system", "content": "be quick"},
    ]
    assert asked_of("chat", {"messages": turns}).in_tool_loop
    later = asked_of("chat", {"messages": [*turns, {"role": "user", "content": "b"}]})
    assert (later.in_tool_loop, later.text, later.turns) == (False, "b", ("a",))


def test_what_an_older_api_calls_functions() -> None:
    functions = [{"name": "f", "parameters": PARAMETERS}]
    asked = asked_of("chat", {"messages": [], "functions": functions, "function_call": {"name": "f"}})
    assert asked.tools == {"f": PARAMETERS}
    assert forced_tool(asked) == "f"
    assert forced_tool(asked_of("chat", {"messages": [], "functions": functions, "function_call": "auto"})) is None


def test_tools_that_are_none() -> None:
    body = {"messages": [], "tools": [3, {"type": "function"}], "functions": [3]}
    assert asked_of("chat", body).tools == {}


def test_sound_files_and_formats() -> None:
    parts = [{"type": "input_audio", "input_audio": {}}, {"type": "file", "file": {"file_data": "A" * 80_000}}]
    asked = asked_of("chat", {"messages": [{"role": "user", "content": parts}]})
    assert asked.needs == {"audio", "images"}
    assert 10_000 < asked.prompt_bytes < 20_000
    assert asked_of("chat", {"messages": [], "modalities": ["audio"]}).needs == {"audio"}
    assert asked_of("chat", {"messages": [], "web_search_options": {"a": 1}}).needs == {"hosted_tools"}
    plain = asked_of("chat", {"messages": [], "response_format": {"type": "json_object"}})
    assert (plain.json, plain.schema, plain.needs) == (True, None, frozenset())
    odd = asked_of("chat", {"messages": [], "response_format": {"type": "json_schema", "json_schema": {"schema": 3}}})
    assert (odd.json, odd.schema) == (True, None)
    assert not asked_of("chat", {"messages": [], "response_format": {"type": "text"}}).json


@pytest.mark.parametrize(
    ("choice", "forced"),
    [
        (None, None),
        ("auto", None),
        ("none", None),
        ("required", ""),
        ({"type": "auto"}, None),
        ({"type": "tool", "name": "f"}, "f"),
        ({"type": "custom", "custom": {"name": "f"}}, "f"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required"}}, ""),
        ({"type": "allowed_tools", "mode": "auto"}, None),
        ({"type": "function"}, None),
        ({"type": []}, None),
        (7, None),
    ],
)
def test_forced_tools(choice: Any, forced: str | None) -> None:
    assert forced_tool(Asked("", tool_choice=choice)) == forced


def test_weight() -> None:
    assert weight("abc") == 3
    assert weight("\u4e2d\ud800") == 6
    assert weight(["abc", 1, None]) == 7
    assert weight({"type": "document", "source": [{"data": "A" * 800_000, "pages": 3}]}) > 100_000
