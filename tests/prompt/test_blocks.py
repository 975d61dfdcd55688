"""Which texts may become shorter, and with which question."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.blocks import blocks_of, segments, with_texts


def chat(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": role, "content": content} for role, content in turns]}


def seen(dialect: str, body: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(block.source, block.text, block.question) for block in blocks_of(dialect, body)]


def test_what_tools_say_comes_with_the_question_before_it() -> None:
    body = chat(("system", "be kind"), ("user", "first?"), ("assistant", "a"), ("tool", "result"), ("user", "second?"))
    assert seen("chat", body) == [("tool", "result", "second?")]
    longer = chat(("user", "first?"), ("assistant", "a"), ("tool", "result"), ("assistant", "b"), ("user", "second?"))
    assert seen("chat", longer) == [("tool", "result", "first?")]


def test_tool_results_of_every_dialect() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}, {"type": "image"}]}
    plain = {"type": "tool_result", "tool_use_id": "u", "content": "s"}
    body = {"messages": [{"role": "user", "content": [result, plain, {"type": "text", "text": "why?"}]}]}
    assert seen("messages", body) == [("tool", "r", "why?"), ("tool", "s", "why?")]
    items = [
        {"role": "user", "content": "q?"},
        {"type": "function_call"},
        {"type": "function_call_output", "output": "o"},
    ]
    assert seen("responses", {"input": items}) == [("tool", "o", "q?")]


def test_the_users_last_words_stay_but_documents_before_them_do_not() -> None:
    parts = [{"type": "text", "text": "a document"}, {"type": "text", "text": "what does it say?"}]
    assert seen("chat", chat(("user", parts))) == [("user", "a document", "what does it say?")]
    tagged = "<documents>long</documents>\nWhat does it say?"
    assert seen("chat", chat(("user", tagged))) == [("user", tagged, "What does it say?")]
    assert seen("chat", chat(("user", "only a question"))) == []


def test_what_is_unknown_is_left_alone() -> None:
    assert blocks_of("embeddings", {"input": ["x"]}) == []
    assert blocks_of("chat", {"messages": "x"}) == []
    assert blocks_of("chat", {"messages": [7, {"role": "user", "content": 7}, {"role": "tool", "content": None}]}) == []


def test_texts_are_set_where_they_were_and_nothing_else_is_touched() -> None:
    body = chat(("user", [{"type": "text", "text": "d"}, {"type": "text", "text": "q"}]), ("tool", "r"))
    before = json.dumps(body)
    blocks = blocks_of("chat", body)
    made = with_texts(body, {block.place: block.text.upper() for block in blocks})
    assert json.dumps(made) == before.replace('"d"', '"D"').replace('"r"', '"R"')
    assert json.dumps(body) == before


@given(st.lists(st.sampled_from(["a", "<keep>", "</keep>", "\n"])).map("".join))
def test_segments_are_the_text(text: str) -> None:
    pieces = list(segments(text))
    assert "".join(piece for piece, _ in pieces) == text
    assert all(piece.startswith("<keep>") for piece, free in pieces if not free)


nonsense = st.recursive(
    st.none() | st.integers() | st.sampled_from(["user", "assistant", "tool", "text", "tool_result", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "output"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from(["chat", "responses", "messages"]), st.lists(nonsense, max_size=4))
def test_any_request_can_be_read(dialect: str, turns: list[Any]) -> None:
    for block in blocks_of(dialect, {"messages": turns, "input": turns}):
        assert isinstance(block.text, str)
