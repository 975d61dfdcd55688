"""Requests with what changes behind what a provider keeps: valid, and each the beginning of the next one."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.prompt.arranging import Arranging
from llmsaver.prompt.behind import FRAME, put_behind
from llmsaver.testing.validation import refuse_body

NOW = datetime(2026, 11, 21, 10, 0)  # noqa: DTZ001 - a day, wherever it is
WORDS = st.text(alphabet="abc .", min_size=1, max_size=9).filter(lambda text: bool(text.strip()))
CALL: Any = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
DIALECTS = ("chat", "responses", "messages")


def system(turn: int) -> str:
    return f"Be kind.\nNow: {NOW + timedelta(minutes=turn):%Y-%m-%d %H:%M}\nCite."


def body_of(dialect: str, talk: list[tuple[str, str]], turn: int) -> dict[str, Any]:
    """Return a request of a conversation: what was said, and by whom; a tool's results follow its call."""
    turns: list[Any] = []
    for who, text in talk:
        if who == "tool" and dialect == "chat":
            turns.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
            turns.append({"role": "tool", "tool_call_id": "t1", "content": text})
        elif who == "tool" and dialect == "responses":
            turns.append({"type": "function_call", "call_id": "t1", "name": "f", "arguments": "{}"})
            turns.append({"type": "function_call_output", "call_id": "t1", "output": text})
        elif who == "tool":
            use = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
            turns.append({"role": "assistant", "content": [use]})
            turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": text}]})
        else:
            turns.append({"role": who, "content": text})
    if dialect == "messages":
        return {"model": "claude-sonnet-5", "max_tokens": 9, "system": system(turn), "messages": turns}
    if dialect == "responses":
        return {"model": "gpt-5.2", "instructions": system(turn), "input": turns}
    return {"model": "gpt-4o", "messages": [{"role": "system", "content": system(turn)}, *turns]}


def sent(arranging: Arranging, dialect: str, body: dict[str, Any], *, keeps_tail: bool = False) -> Any:
    arranged = arranging.arranged("g", dialect, body, NOW)
    return arranged.whole(dialect, None, keeps_tail=keeps_tail)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(DIALECTS),
    st.lists(st.tuples(st.sampled_from(["user", "tool"]), WORDS, WORDS), min_size=1, max_size=4),
    st.booleans(),
)
def test_requests_stay_valid_and_grow_at_their_end(dialect: str, said: Any, keeps_tail: bool) -> None:
    arranging = Arranging(moves=True)
    talk: list[tuple[str, str]] = [("user", "hello")]
    earlier: list[Any] = []
    for turn, (who, text, answer) in enumerate([("user", "?", "!"), *said]):
        talk = [*talk, (who, text)] if turn else talk
        body = body_of(dialect, talk, turn)
        before = copy.deepcopy(body)
        assert refuse_body(dialect, body) is None
        made = sent(arranging, dialect, body, keeps_tail=keeps_tail)
        assert body == before
        if not turn:
            assert made is None
        else:
            assert refuse_body(dialect, made) is None
            assert "Now: " not in json.dumps(made.get("system", made.get("instructions", "")))
            last = f"{FRAME}\nNow: {NOW + timedelta(minutes=turn):%Y-%m-%d %H:%M}"
            assert last in flat(dialect, made)[-1]
            # What lies before the moved text is what the request before this one begins with, too.
            now = flat(dialect, made)[:-1]
            assert now[: len(earlier)] == earlier
            earlier = now
            # Arranged once more, nothing is left to move.
            assert arranging.arranged("g", dialect, made, NOW).taken is None
        talk = [*talk, ("assistant", answer)]


def flat(dialect: str, body: Any) -> list[str]:
    """Return a request's blocks as a cache sees them, without its marks."""
    found = [json.dumps(body.get("system", body.get("instructions")))]
    for turn in body["input" if dialect == "responses" else "messages"]:
        name = "output" if "output" in turn else "content"
        content = turn.get(name)
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        rest = {key: value for key, value in turn.items() if key != name}
        for part in parts:
            told = part.get("text", {key: value for key, value in part.items() if key != "cache_control"})
            found.append(f"{rest}{told}")
    return found


def test_a_conversations_end_is_marked_before_the_text() -> None:
    body = {**body_of("messages", [("user", "a"), ("tool", "b")], 0), "cache_control": {"type": "ephemeral"}}
    made = put_behind("messages", body, ["Now: 1", "Id: 2"], "", keeps_tail=True)
    assert made is not None
    assert "cache_control" not in made
    result, text = made["messages"][-1]["content"]
    assert result["cache_control"] == {"type": "ephemeral"}
    assert text == {"type": "text", "text": f"{FRAME}\nNow: 1\nId: 2"}
    prefilled = body_of("messages", [("user", "a"), ("assistant", "So")], 0)
    made = put_behind("messages", prefilled, ["Now: 1"], "", keeps_tail=False)
    assert made is not None
    assert [turn["role"] for turn in made["messages"]] == ["user", "assistant"]
    assert len(made["messages"][0]["content"]) == 2


@pytest.mark.parametrize(("dialect", "part"), [("chat", "text"), ("responses", "input_text")])
@pytest.mark.parametrize("who", ["user", "tool"])
def test_where_writing_costs_the_end_is_a_breakpoint(dialect: str, part: str, who: str) -> None:
    body = body_of(dialect, [("user", "a"), (who, "b")], 0)
    name = "messages" if dialect == "chat" else "input"
    made = put_behind(dialect, body, ["Now: 1"], "developer", keeps_tail=True)
    assert made is not None
    assert made["prompt_cache_options"] == {"mode": "explicit"}
    assert made[name][-1] == {"role": "developer", "content": f"{FRAME}\nNow: 1"}
    marked = made[name][-2]
    (block,) = marked["output" if "output" in marked else "content"]
    assert block == {"type": part, "text": "b", "prompt_cache_breakpoint": {"mode": "explicit"}}
    again = put_behind(dialect, {**body, name: made[name][:-1]}, ["Now: 1"], "developer", keeps_tail=True)
    assert again == made
    plain = put_behind(dialect, body, ["Now: 1"], "", keeps_tail=False)
    assert plain is not None
    assert "prompt_cache_options" not in plain
    empty = put_behind(dialect, {name: [{"role": "user", "content": []}]}, ["Now: 1"], "", keeps_tail=True)
    assert empty is not None
    assert "prompt_cache_options" not in empty


def test_a_question_alone_becomes_a_message() -> None:
    made = put_behind("responses", {"input": "why?"}, ["Now: 1"], "", keeps_tail=False)
    assert made is not None
    assert made["input"] == [
        {"role": "user", "content": "why?"},
        {"role": "developer", "content": f"{FRAME}\nNow: 1"},
    ]


@pytest.mark.parametrize(
    ("dialect", "turns"),
    [
        ("chat", []),
        ("chat", None),
        ("chat", ["odd"]),
        ("chat", [{"role": "assistant", "tool_calls": [CALL]}]),
        ("chat", [{"role": "assistant", "content": "a"}]),
        ("responses", [{"type": "function_call", "call_id": "t", "name": "f", "arguments": ""}]),
        ("messages", None),
        ("messages", [{"role": "assistant", "content": "a"}]),
        ("messages", [{"role": "user", "content": ""}]),
        ("messages", [{"role": "user", "content": [7]}]),
    ],
)
def test_where_there_is_no_place_nothing_is_put(dialect: str, turns: Any) -> None:
    name = "input" if dialect == "responses" else "messages"
    assert put_behind(dialect, {name: turns}, ["Now: 1"], "", keeps_tail=True) is None


def test_tools_in_another_order_are_told_and_only_if_asked_for_reordered() -> None:
    tools = [{"name": "a", "x": 1, "y": 2}, {"name": "b"}]
    other = [{"name": "b"}, {"y": 2, "x": 1, "name": "a"}]
    for moves in (False, True):
        arranging = Arranging(moves=moves)
        assert arranging.arranged("g", "chat", {"tools": tools}, NOW).told in ((), [])
        found = arranging.arranged("g", "chat", {"tools": other}, NOW)
        action = "reordered" if moves else "broken"
        assert [act for act, _ in found.told] == [action]
        assert json.dumps(found.body["tools"]) == json.dumps(tools if moves else other)
        assert found.changed is moves
        assert (found.whole("chat", None, keeps_tail=False) is None) is not moves


def test_what_has_no_place_at_the_end_is_not_taken() -> None:
    arranging = Arranging(moves=True)
    for turn in range(2):
        body = {"system": system(turn), "messages": [{"role": "assistant", "content": "a"}]}
        found = arranging.arranged("g", "messages", body, NOW)
    assert (found.taken, found.body) == (None, body)


@pytest.mark.parametrize("more", [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}])
def test_what_continues_a_kept_conversation_is_left_as_it_was(more: dict[str, str]) -> None:
    arranging = Arranging(moves=True)
    for turn in range(3):
        found = arranging.arranged("g", "responses", body_of("responses", [("user", "a")], turn) | more, NOW)
        assert not found.changed
        assert found.whole("responses", None, keeps_tail=False) is None


def test_an_order_of_tools_is_told_once() -> None:
    one: Any = [{"name": "a"}, {"name": "b"}]
    other = one[::-1]
    arranging = Arranging(moves=False)
    orders = [one, *[other] * 4, one, other, one, None, [object()]]
    told = [bool(arranging.arranged("g", "chat", {"tools": tools}, NOW).told) for tools in orders]
    assert [at for at, each in enumerate(told) if each] == [1]


@pytest.mark.parametrize(
    ("thinking", "moved"), [({"type": "enabled"}, False), ({"type": "adaptive"}, False), ({"type": "disabled"}, True)]
)
def test_nothing_is_put_into_a_turn_in_which_a_model_thinks(thinking: dict[str, str], moved: bool) -> None:
    body = body_of("messages", [("user", "a"), ("tool", "b")], 0) | {"thinking": thinking}
    assert (put_behind("messages", body, ["Now: 1"], "", keeps_tail=False) is not None) is moved
    body["messages"] = body["messages"][:1]
    assert put_behind("messages", body, ["Now: 1"], "", keeps_tail=False) is not None
