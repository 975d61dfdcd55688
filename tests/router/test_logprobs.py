"""Log-probabilities that are asked for and hidden again."""

from __future__ import annotations

from typing import Any

import pytest

from llmsaver.router.logprobs import hide_logprobs, wants_logprobs
from llmsaver.router.tier import Tier

INCLUDE = "message.output_text.logprobs"
TOKENS = [{"token": "a", "logprob": -0.1}]


def test_asking() -> None:
    mini = Tier("gpt-4o-mini")
    assert wants_logprobs("chat", {}, mini) == {"logprobs": True}
    assert wants_logprobs("chat", {"logprobs": True}, mini) is None
    assert wants_logprobs("responses", {"include": ["x"]}, mini) == {"include": ["x", INCLUDE]}
    assert wants_logprobs("responses", {"include": [INCLUDE]}, mini) is None
    assert wants_logprobs("messages", {}, mini) is None
    assert wants_logprobs("chat", {}, Tier("mystery")) is None
    assert wants_logprobs("chat", {}, Tier("mystery", skills=frozenset({"logprobs"}))) is not None
    assert wants_logprobs("chat", {}, Tier("gpt-4o-mini", skills=frozenset({"tools"}))) is None
    assert wants_logprobs("chat", {}, Tier("local/smollm2")) == {"logprobs": True}


@pytest.mark.parametrize("body", [{"reasoning_effort": "none"}, {"reasoning": {"effort": "none"}}])
def test_reasoning_models_tell_where_they_do_not_reason(body: dict[str, Any]) -> None:
    assert wants_logprobs("chat", body, Tier("gpt-5.2")) == {"logprobs": True}
    assert wants_logprobs("chat", {}, Tier("gpt-5.2")) is None
    assert wants_logprobs("chat", body, Tier("gpt-5-mini")) is None
    assert wants_logprobs("chat", body, Tier("gpt-5.2", skills=frozenset())) is None


def test_hiding_in_chat() -> None:
    message: dict[str, Any] = {"choices": [{"index": 0, "logprobs": {"content": TOKENS}}, {"index": 1}, 3], "id": "x"}
    hidden = hide_logprobs("chat", message, {})
    assert hidden == {"choices": [{"index": 0, "logprobs": None}, {"index": 1}, 3], "id": "x"}
    assert message["choices"][0] == {"index": 0, "logprobs": {"content": TOKENS}}
    assert hide_logprobs("chat", message, {"logprobs": True}) is message
    others: list[dict[str, Any]] = [{"choices": [{"logprobs": None}]}, {"choices": []}, {"choices": 3}, {}]
    for same in others:
        assert hide_logprobs("chat", same, {}) is same


def test_hiding_in_responses() -> None:
    part = {"type": "output_text", "text": "a", "logprobs": TOKENS}
    bare = {"type": "output_text", "text": "a", "logprobs": []}
    item: dict[str, Any] = {"type": "message", "content": [part]}
    for event, hidden in (
        ({"output": [item, {"type": "reasoning"}, 3]},
         {"output": [{"type": "message", "content": [bare]}, {"type": "reasoning"}, 3]}),
        ({"type": "response.output_text.delta", "delta": "a", "logprobs": TOKENS},
         {"type": "response.output_text.delta", "delta": "a", "logprobs": []}),
        ({"type": "response.content_part.done", "part": part}, {"type": "response.content_part.done", "part": bare}),
        ({"item": item}, {"item": {"type": "message", "content": [bare]}}),
        ({"response": {"output": [item]}}, {"response": {"output": [{"type": "message", "content": [bare]}]}}),
    ):  # fmt: skip
        assert hide_logprobs("responses", event, {}) == hidden
        assert hide_logprobs("responses", hidden, {}) is hidden
        assert hide_logprobs("responses", event, {"include": [INCLUDE]}) is event
    assert hide_logprobs("messages", {"content": []}, {}) == {"content": []}
