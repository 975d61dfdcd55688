"""The recall tool in every dialect: offered, read and answered as providers take it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.stub_recall import (
    Recalled,
    answered,
    billed_together,
    can_offer,
    offered,
    recalls_at_all,
    recalls_in,
    withdrawn,
    without_recalls,
)
from llmsaver.prompt.stub_text import RECALL
from llmsaver.testing.validation import refuse_body

SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
BODIES: dict[str, dict[str, Any]] = {
    "chat": {
        "model": "gpt-5-mini",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "bash", "parameters": SCHEMA}}],
    },
    "responses": {
        "model": "gpt-5-mini",
        "input": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "name": "bash", "parameters": SCHEMA}],
    },
    "messages": {
        "model": "claude-sonnet-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "bash", "input_schema": SCHEMA}],
    },
}
SAID = '{"reference": "llmsaver:o-1"}'
CHAT_CALL = {"id": "a", "type": "function", "function": {"name": RECALL, "arguments": SAID}}
ITEM = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": RECALL, "arguments": SAID, "status": "completed"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}
USE = {"type": "tool_use", "id": "a", "name": RECALL, "input": {"reference": "llmsaver:o-1"}}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}
ANSWERS: dict[str, dict[str, Any]] = {
    "chat": {
        "choices": [{"message": {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CHAT_CALL]}}]
    },
    "responses": {"output": [THOUGHT, ITEM]},
    "messages": {"content": [THINKING, USE], "stop_reason": "tool_use"},
}
DIALECTS = pytest.mark.parametrize("dialect", list(BODIES))


@DIALECTS
def test_a_request_with_it_is_valid_and_goes_on_validly(dialect: str) -> None:
    body = offered(dialect, BODIES[dialect])
    assert refuse_body(dialect, body) is None
    assert body["tools"][:-1] == BODIES[dialect]["tools"]
    assert not can_offer(dialect, body)
    assert withdrawn(body) == BODIES[dialect]
    calls = recalls_in(dialect, ANSWERS[dialect])
    assert calls == [Recalled("a", "llmsaver:o-1")]
    further = answered(dialect, body, ANSWERS[dialect], [(calls[0], "the text")])
    assert refuse_body(dialect, further) is None
    assert "the text" in str(further)


def test_thinking_goes_back_signed_and_reasoning_where_it_is_known() -> None:
    call = Recalled("a", "x")
    messages = answered("messages", BODIES["messages"], ANSWERS["messages"], [(call, "t")])["messages"]
    assert messages[1] == {"role": "assistant", "content": [THINKING, USE]}
    body = BODIES["responses"]
    kinds = [
        [
            (item.get("type"), item.get("id"))
            for item in answered("responses", each, ANSWERS["responses"], [])["input"][1:]
        ]
        for each in (body, {**body, "store": False})
    ]
    assert kinds == [[("reasoning", "rs_1"), ("function_call", "fc_1")], [("function_call", None)]]
    whole = {"output": [{**THOUGHT, "encrypted_content": "x"}, ITEM]}
    kept = answered("responses", {**body, "store": False}, whole, [])["input"][1:]
    assert [item["type"] for item in kept] == ["reasoning", "function_call"]


OTHER = {"id": "b", "type": "function", "function": {"name": "bash", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ("chat", {"choices": [{"message": {"tool_calls": [CHAT_CALL, OTHER]}}]}),
        ("chat", {"choices": [{"message": {"tool_calls": [CHAT_CALL]}}] * 2}),
        ("chat", {"choices": [{"message": {"content": "hi"}}]}),
        ("chat", {}),
        ("responses", {"output": [ITEM, {**ITEM, "name": "bash"}]}),
        ("responses", {"output": [ITEM, {"type": "web_search_call"}]}),
        ("responses", {"output": [{"type": "message"}]}),
        ("messages", {"content": [USE, {**USE, "name": "bash"}]}),
        ("messages", {"content": [USE, {"type": "server_tool_use"}]}),
        ("messages", {"content": [{**USE, "id": None}]}),
    ],
)
def test_what_is_no_recall_alone_is_none(dialect: str, message: dict[str, Any]) -> None:
    assert recalls_in(dialect, message) == []


def test_a_reference_may_be_anything() -> None:
    for arguments in ("{", "[]", '{"reference": 7}', "{}"):
        call = {**CHAT_CALL, "function": {"name": RECALL, "arguments": arguments}}
        (found,) = recalls_in("chat", {"choices": [{"message": {"tool_calls": [call]}}]})
        assert isinstance(found.reference, str)


@pytest.mark.parametrize("tools", [None, [], "x", [{"name": RECALL}], [{"function": {"name": RECALL}}]])
def test_it_is_not_offered_alone_nor_twice(tools: Any) -> None:
    assert not can_offer("chat", {"tools": tools})
    assert not can_offer("embeddings", {"tools": [{"name": "x"}]})


def test_it_is_not_offered_where_it_has_no_place() -> None:
    tools = [{"name": f"tool_{number}"} for number in range(128)]
    assert can_offer("chat", {"tools": tools[:127], "n": 1})
    assert not can_offer("chat", {"tools": tools})
    assert not can_offer("chat", {"tools": tools[:1], "n": 2})
    assert not can_offer("chat", {"tools": [{"type": "custom", "custom": {"name": RECALL}}]})


@pytest.mark.parametrize(
    ("dialect", "message", "left"),
    [
        (
            "chat",
            {"choices": [{"message": {"tool_calls": [CHAT_CALL, OTHER]}, "finish_reason": "tool_calls"}]},
            {"choices": [{"message": {"tool_calls": [OTHER]}, "finish_reason": "tool_calls"}]},
        ),
        (
            "chat",
            {
                "choices": [
                    {"message": {"content": "hi"}, "finish_reason": "stop"},
                    {"message": {"content": None, "tool_calls": [CHAT_CALL]}, "finish_reason": "tool_calls"},
                    {"message": {"content": "so", "tool_calls": [CHAT_CALL]}, "finish_reason": "length"},
                ]
            },
            {
                "choices": [
                    {"message": {"content": "hi"}, "finish_reason": "stop"},
                    {"message": {"content": ""}, "finish_reason": "stop"},
                    {"message": {"content": "so"}, "finish_reason": "length"},
                ]
            },
        ),
        (
            "responses",
            {"output": [THOUGHT, ITEM, {**ITEM, "name": "bash"}]},
            {"output": [THOUGHT, {**ITEM, "name": "bash"}]},
        ),
        (
            "messages",
            {"content": [THINKING, USE], "stop_reason": "tool_use"},
            {"content": [THINKING], "stop_reason": "end_turn"},
        ),
        (
            "messages",
            {"content": [USE, {**USE, "name": "bash"}], "stop_reason": "tool_use"},
            {"content": [{**USE, "name": "bash"}], "stop_reason": "tool_use"},
        ),
    ],
)
def test_an_answer_can_do_without_its_calls(dialect: str, message: dict[str, Any], left: dict[str, Any]) -> None:
    assert recalls_at_all(dialect, message)
    assert without_recalls(dialect, message) == left
    assert not recalls_at_all(dialect, left)


def test_usage_is_that_of_all() -> None:
    answers: list[dict[str, Any]] = [
        {"usage": {"input_tokens": 5, "output_tokens": 1}},
        {"id": "b", "usage": {"input_tokens": 7, "output_tokens": 2}},
    ]
    assert billed_together(answers) == {"id": "b", "usage": {"input_tokens": 12, "output_tokens": 3}}
    assert billed_together([{"id": "a"}]) == {"id": "a"}


nonsense = st.recursive(
    st.none() | st.integers() | st.sampled_from([RECALL, "function_call", "tool_use", "message"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "tool_calls", "output", "content", "type", "name", "id", "function"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=14,
)


@given(st.sampled_from(list(BODIES)), st.dictionaries(st.sampled_from(["choices", "output", "content"]), nonsense))
def test_any_answer_can_be_read(dialect: str, message: dict[str, Any]) -> None:
    if recalls_in(dialect, message):
        assert recalls_at_all(dialect, message)
    if recalls_at_all(dialect, message):
        assert not recalls_at_all(dialect, without_recalls(dialect, message))
