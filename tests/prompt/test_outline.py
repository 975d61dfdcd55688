"""What a cache sees of a request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.outline import is_short, outline_of

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "be kind " * 100},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": [{"type": "text", "text": "and"}, {"type": "text", "text": "now?"}]},
    ],
}
TALK: dict[str, Any] = {"model": "m", "system": "be kind " * 100, "messages": CHAT["messages"][1:], "max_tokens": 9}


def test_a_longer_conversation_begins_with_the_shorter_one() -> None:
    short, long = outline_of("chat", {**CHAT, "messages": CHAT["messages"][:2]}), outline_of("chat", CHAT)
    assert short is not None
    assert long is not None
    assert list(long.points[:2]) == list(short.points)
    assert long.static == short.static == long.points[0]
    assert (long.turns, long.leading, list(long.blocks)) == (1, 1, [1, 1, 1, 2])
    assert list(long.tokens) == sorted(long.tokens)
    assert long.whole == long.points[-1]
    assert 190 < long.static_tokens < 220 < long.total_tokens


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "n"},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"messages": [{"role": "system", "content": "other"}, *CHAT["messages"][1:]]},
        {"reasoning_effort": "high"},
    ],
)
def test_what_a_provider_keeps_apart_is_apart(changes: dict[str, Any]) -> None:
    one, other = outline_of("chat", CHAT), outline_of("chat", {**CHAT, **changes})
    assert one is not None
    assert other is not None
    assert one.static != other.static
    assert one.whole != other.whole


def test_the_salt_makes_the_hashes_ours() -> None:
    one, other = outline_of("chat", CHAT, b"a"), outline_of("chat", CHAT, b"b")
    assert one is not None
    assert other is not None
    assert one.whole != other.whole


def test_a_mark_is_no_part_of_what_is_kept() -> None:
    marked = {
        **TALK,
        "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {}}]}],
    }
    plain = {
        **TALK,
        "system": [{"type": "text", "text": "x"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    assert outline_of("messages", marked) == outline_of("messages", plain)


def test_instructions_apart_from_the_messages() -> None:
    outline = outline_of("messages", TALK)
    assert outline is not None
    assert (outline.leading, outline.turns) == (0, 1)
    assert outline.static not in outline.points
    response = outline_of("responses", {"model": "m", "instructions": "be kind", "input": "hi"})
    assert response is not None
    assert len(response.points) == 1
    agent = outline_of(
        "responses", {"model": "m", "input": [{"role": "user", "content": "x"}, {"type": "function_call"}]}
    )
    assert agent is not None
    assert agent.turns == 1


def test_instructions_alone_are_all_leading() -> None:
    outline = outline_of("chat", {"model": "m", "messages": CHAT["messages"][:1]})
    assert outline is not None
    assert (outline.leading, outline.static) == (1, outline.whole)


bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "input", "content", "role", "system", "tools"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["messages", "input", "system", "tools", "model"]), bodies))
def test_any_request_has_an_outline_or_none(body: dict[str, Any]) -> None:
    outline = outline_of("responses", body)
    assert outline is None or len(outline.points) == len(outline.tokens) == len(outline.blocks)


def test_what_is_no_json_has_none() -> None:
    assert outline_of("chat", {"model": "m", "messages": [{"role": "user", "content": object()}]}) is None


@pytest.mark.parametrize(
    ("body", "whether"),
    [
        (CHAT, False),
        ({"messages": [{"role": "user", "content": "hi"}]}, True),
        ({"input": "hi"}, True),
        ({"input": "hi " * 3000}, False),
        ({"system": "x" * 5000, "messages": []}, False),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, False),
        ({"messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "f"}]}, False),
        ({"messages": [7, None]}, False),
        ({}, True),
    ],
)
def test_short_requests_are_known_at_a_glance(body: dict[str, Any], whether: bool) -> None:
    assert is_short(body, 200) is whether


@pytest.mark.parametrize(("dialect", "body"), [("chat", CHAT), ("messages", TALK)])
def test_a_scope_hides_the_hashes_from_others_but_not_the_key(dialect: str, body: dict[str, Any]) -> None:
    plain, one, other = (outline_of(dialect, body, scope=scope) for scope in (b"", b"a", b"b"))
    assert plain is not None
    assert one is not None
    assert other is not None
    assert len({plain.static, one.static, other.static}) == len({plain.whole, one.whole, other.whole}) == 3
    assert plain.key == one.key == other.key == plain.static


def test_what_tools_said_before_the_last_answer_is_old() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "x" * 400}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
        {"role": "user", "content": [result]},
    ]
    fresh = outline_of("messages", {"model": "m", "messages": turns})
    old = outline_of("messages", {"model": "m", "messages": [*turns, {"role": "assistant", "content": "so"}]})
    assert fresh is not None
    assert old is not None
    assert fresh.old_results == 0
    assert 100 < old.old_results < 130
    for said in (
        [{"role": "tool", "content": "x" * 400}, {"role": "assistant", "content": "so"}],
        [{"type": "function_call_output", "output": "x" * 400}, {"type": "function_call"}],
    ):
        other = outline_of("responses", {"model": "m", "input": said})
        assert other is not None
        assert other.old_results > 100
