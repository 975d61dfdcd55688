"""Answers of every dialect as a judge reads them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llmsaver.router.answers import answer_of
from llmsaver.router.views import Answer, ToolCall


def _chat(message: Any, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, **choice}]}


def test_chat() -> None:
    told = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b"}, {"token": "c", "logprob": True}]}
    answer = answer_of("chat", _chat({"content": "Hi"}, finish_reason="length", logprobs=told))
    assert (answer.text, answer.finish, answer.calls) == ("Hi", "length", ())
    assert answer.logprobs is not None
    assert answer.logprobs[0] == -0.5
    assert all(map(math.isnan, answer.logprobs[1:]))
    assert answer_of("chat", _chat({"content": [{"type": "text", "text": "a"}, {"text": 3}]})).text == "a"


def test_chat_calls() -> None:
    calls = [
        {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"type": "custom", "custom": {"name": "g", "input": "text"}},
        {"type": "function", "function": {"arguments": None}},
    ]
    answer = answer_of("chat", _chat({"content": None, "tool_calls": calls}, finish_reason="tool_calls"))
    assert answer == Answer("", (ToolCall("f", '{"a": 1}'), ToolCall("g", "text"), ToolCall("", "{}")), "tools")
    legacy = answer_of("chat", _chat({"function_call": {"name": "f", "arguments": "{}"}}, finish_reason="stop"))
    assert (legacy.calls, legacy.finish) == ((ToolCall("f", "{}"),), "tools")


def test_refusals_that_providers_name() -> None:
    chat = answer_of("chat", _chat({"content": None, "refusal": "No."}, finish_reason="stop"))
    assert (chat.text, chat.finish) == ("No.", "refusal")
    assert answer_of("chat", _chat({"content": ""}, finish_reason="content_filter")).finish == "filter"
    part = {"type": "refusal", "refusal": "No."}
    responses = answer_of("responses", {"output": [{"type": "message", "content": [part]}]})
    assert (responses.text, responses.finish) == ("No.", "refusal")
    assert answer_of("messages", {"content": [], "stop_reason": "refusal"}).finish == "refusal"


def test_responses() -> None:
    part = {"type": "output_text", "text": "Hi", "logprobs": [{"logprob": -1}]}
    output = [
        {"type": "reasoning", "content": [{"text": "hidden"}]},
        {"type": "message", "content": [part]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "name": "g", "input": "x"},
    ]
    answer = answer_of("responses", {"output": output})
    assert answer == Answer("Hi", (ToolCall("f", "{}"), ToolCall("g", "x")), "tools", (-1.0,))
    cut = answer_of("responses", {"output": [], "incomplete_details": {"reason": "max_output_tokens"}})
    assert cut.finish == "length"


def test_messages() -> None:
    content = [
        {"type": "thinking", "thinking": "hidden"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "name": "f", "input": {"a": 1}},
    ]
    answer = answer_of("messages", {"content": content, "stop_reason": "tool_use"})
    assert answer == Answer("Hi", (ToolCall("f", '{"a": 1}'),), "tools")
    assert answer_of("messages", {"content": content[:2], "stop_reason": "max_tokens"}).finish == "length"
    assert answer_of("messages", {"content": content[:2], "stop_reason": "end_turn"}).finish == "stop"


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages", "?"])
def test_nonsense_is_an_empty_answer(dialect: str) -> None:
    assert answer_of(dialect, {"choices": [3], "output": "x", "content": 7, "stop_reason": []}) == Answer("")


def test_arguments_that_nothing_can_write() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    block = {"type": "tool_use", "name": "f", "input": deep}
    assert answer_of("messages", {"content": [block]}).calls == (ToolCall("f", ""),)
    while deep:
        deep = deep.pop()  # taken apart here: its own end would recurse


def test_a_number_beyond_all_numbers_is_missing() -> None:
    answer = answer_of("chat", _chat({"content": "a"}, logprobs={"content": [{"logprob": -(10**400)}]}))
    assert answer.logprobs is not None
    assert math.isnan(answer.logprobs[0])
