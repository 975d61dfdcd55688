"""What an answer of any dialect comes down to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.cache.answers import answer_text

CALL = {"name": "f", "arguments": '{"b": 1, "a": 2}'}
TOLD = '{"arguments": {"a": 2, "b": 1}, "name": "f"}'


@pytest.mark.parametrize(
    ("dialect", "message", "text"),
    [
        ("chat", {"choices": [{"message": {"content": "hi"}}, {"message": {"content": "ho"}}]}, "hi\nho"),
        ("chat", {"choices": [{"message": {"content": None, "tool_calls": [{"id": "1", "function": CALL}]}}]}, TOLD),
        (
            "chat",
            {"choices": [{"message": {"tool_calls": [{"custom": {"name": "g", "input": "x"}}]}}]},
            '{"input": "x", "name": "g"}',
        ),
        (
            "responses",
            {
                "output": [
                    {"type": "reasoning"},
                    {"type": "message", "content": [{"text": "hi"}, {}]},
                    {"type": "function_call", "id": "1", **CALL},
                ]
            },
            f"hi\n{TOLD}",
        ),
        (
            "messages",
            {
                "content": [
                    {"type": "thinking"},
                    {"type": "text", "text": "hi"},
                    {"type": "tool_use", "id": "1", "name": "f", "input": {"b": 1, "a": 2}},
                ]
            },
            'hi\n{"input": {"a": 2, "b": 1}, "name": "f"}',
        ),
    ],
)
def test_ids_and_forms_are_left_out(dialect: str, message: dict[str, Any], text: str) -> None:
    assert answer_text(dialect, message) == text


def test_arguments_that_are_no_json_stay_as_they_are() -> None:
    call = {"function": {"name": "f", "arguments": "{"}}
    assert '"{"' in answer_text("chat", {"choices": [{"message": {"tool_calls": [call]}}]})


_json = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "text", "content", "message"]), inner),
)


@given(st.sampled_from(["chat", "responses", "messages", "embeddings"]), _json)
def test_anything_else_is_nothing(dialect: str, found: Any) -> None:
    names = {"chat": "choices", "responses": "output", "messages": "content"}
    assert isinstance(answer_text(dialect, {names.get(dialect, "data"): found}), str)
