"""Which outputs there are, whose they are, and which of them are old."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.blocks import blocks_of
from llmsaver.prompt.stub_blocks import Output, old, outputs_of, turns_of

LONG = "x" * 2_000


def found(dialect: str, body: dict[str, Any]) -> list[Output]:
    return outputs_of(dialect, body, blocks_of(dialect, body), {})


def call(number: int, name: str = "bash") -> dict[str, Any]:
    return {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": "{}"}}


def test_outputs_of_calls_side_by_side_are_one_turn() -> None:
    turns: list[Any] = [{"role": "user", "content": "go"}]
    turns.append({"role": "assistant", "content": None, "tool_calls": [call(1, "read"), call(2, "list")]})
    turns += [{"role": "tool", "tool_call_id": f"c{number}", "content": f"{number}{LONG}"} for number in (1, 2)]
    turns.append({"role": "assistant", "content": "hm", "tool_calls": [call(3)]})
    turns.append({"role": "tool", "tool_call_id": "c3", "content": LONG})
    outputs = found("chat", {"messages": turns})
    assert [(each.name, each.turn, each.message, each.number) for each in outputs] == [
        ("read", 1, 2, 0),
        ("list", 1, 3, 1),
        ("bash", 2, 5, 2),
    ]
    assert [each.number for each in old(outputs, 1, 400, 10_000)] == [0, 1]
    assert old(outputs, 2, 400, 10_000) == []
    assert old(outputs, 1, 600, 10_000) == []
    assert old(outputs, 1, 400, 1_000) == []
    assert old([], 1, 400, 1_000) == []


def test_the_names_of_every_dialect() -> None:
    items = [
        {"type": "function_call", "call_id": "a", "id": "fc", "name": "read"},
        {"type": "function_call_output", "call_id": "a", "output": LONG},
        {"type": "function_call_output", "call_id": "unknown", "output": LONG},
    ]
    assert [each.name for each in found("responses", {"input": items})] == ["read", ""]
    use = {"type": "tool_use", "id": "t", "name": "list", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": LONG}]}
    failed = {**result, "is_error": True}
    messages = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result, failed]}]
    assert [(each.name, each.fixed) for each in found("messages", {"messages": messages})] == [
        ("list", False),
        ("list", True),
    ]
    custom = {"id": "x", "type": "custom", "custom": {"name": "grep", "input": ""}}
    turns = [
        {"role": "assistant", "tool_calls": [custom, {"id": "y", "function": {"name": 7}}, 7]},
        {"role": "tool", "tool_call_id": "x", "content": LONG},
        {"role": "tool", "tool_call_id": "y", "content": LONG},
    ]
    assert [each.name for each in found("chat", {"messages": turns})] == ["grep", ""]


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("ValueError: no", True),
        ("  error reading the file", True),
        ("Exception in thread", True),
        ("FATAL: down", True),
        ('{ "errors": []}', True),
        ("it ran\nTraceback (most recent call last):\n", True),
        ("a <keep>b</keep>", True),
        ("errands to run", False),
        ('{"rows": [], "error": null}', False),
    ],
)
def test_errors_are_told_by_their_beginning(text: str, fixed: bool) -> None:
    turns = [{"role": "tool", "tool_call_id": "a", "content": text}]
    (output,) = found("chat", {"messages": turns})
    assert output.fixed is fixed


def test_what_is_sent_decides_the_size() -> None:
    body = {"messages": [{"role": "tool", "tool_call_id": "a", "content": LONG}]}
    (output,) = outputs_of("chat", body, blocks_of("chat", body), {("messages", 0, "content"): "short"})
    assert (output.size, output.text) == (5, LONG)


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt", "container"])
def test_what_the_provider_keeps_cannot_be_seen(name: str) -> None:
    assert turns_of("responses", {"input": [1], name: "x"}) == ()
    assert turns_of("embeddings", {"input": [1]}) == ()
    assert turns_of("responses", {"input": "text"}) == ()
    assert found("responses", {"input": [{"type": "function_call_output", "output": LONG}], name: "x"}) == []


nonsense = st.recursive(
    st.none() | st.integers() | st.sampled_from(["user", "assistant", "tool", "text", "tool_result", "x", "c1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "output", "id", "call_id", "tool_calls", "name"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=14,
)


@given(st.sampled_from(["chat", "responses", "messages"]), st.lists(nonsense, max_size=4))
def test_any_request_can_be_read(dialect: str, turns: list[Any]) -> None:
    for output in found(dialect, {"messages": turns, "input": turns}):
        assert isinstance(output.name, str)
