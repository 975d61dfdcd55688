"""A model asked about its own answer."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llmsaver.router.selfcheck import self_check_body, self_check_read
from llmsaver.router.views import Answer, ToolCall

ANSWER = Answer("Lima.", (ToolCall("f", "{}"),))


@pytest.mark.parametrize(
    ("dialect", "body", "limit", "turns"),
    [
        ("chat", {"messages": [{"role": "user", "content": "Capital?"}]}, "max_tokens", "messages"),
        ("chat", {"messages": [{"role": "user", "content": "Capital?"}], "max_completion_tokens": 9},
         "max_completion_tokens", "messages"),
        ("responses", {"input": "Capital?"}, "max_output_tokens", "input"),
        ("messages", {"messages": [{"role": "user", "content": "Capital?"}], "max_tokens": 9},
         "max_tokens", "messages"),
    ],
)  # fmt: skip
def test_the_question(dialect: str, body: dict[str, Any], limit: str, turns: str) -> None:
    given = {**body, "model": "m", "tools": [{}], "stream": True, "temperature": 2, "user": "u"}
    check = self_check_body(dialect, given, ANSWER)
    assert set(check) == {"model", "user", turns, limit} | ({"store"} if dialect == "responses" else set())
    assert check[limit] == 16
    text = check[turns][0]["content"]
    assert "Capital?" in text
    assert "Lima.\nf({})" in text


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (Answer("Yes"), 1.0),
        (Answer(" **No**, it is not."), 0.0),
        (Answer("Correct."), 1.0),
        (Answer("Yes", logprobs=(math.log(0.8),)), 0.8),
        (Answer("No", logprobs=(math.log(0.8), -1.0)), 0.2),
        (Answer("No", logprobs=(math.nan,)), 0.0),
        (Answer("Perhaps"), None),
        (Answer(""), None),
        (Answer("Nobody"), None),
    ],
)
def test_the_reply(answer: Answer, value: float | None) -> None:
    found = self_check_read(answer)
    assert (None if found is None else found.value) == (None if value is None else pytest.approx(value))
