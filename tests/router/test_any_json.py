"""Whatever JSON arrives: nothing of the router's knowledge raises."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.router.agreement import by_agreement
from llmsaver.router.answers import answer_of
from llmsaver.router.asked import asked_of, forced_tool
from llmsaver.router.confidence import by_logprobs, prefix_confidence
from llmsaver.router.conversation import is_follow_up, turn_key
from llmsaver.router.kinds import difficulty, task_kind
from llmsaver.router.logprobs import hide_logprobs, wants_logprobs
from llmsaver.router.needs import estimated_tokens, lacks
from llmsaver.router.selfcheck import self_check_body, self_check_read
from llmsaver.router.tier import Tier
from llmsaver.router.validators import VALIDATORS
from llmsaver.router.views import Answer, Asked, ToolCall

KEYS = [
    "messages", "input", "system", "instructions", "role", "type", "content", "text", "output", "tools",
    "functions", "name", "parameters", "input_schema", "function", "custom", "arguments", "tool_choice",
    "function_call", "response_format", "format", "json_schema", "schema", "required", "properties",
    "choices", "message", "refusal", "tool_calls", "logprobs", "logprob", "finish_reason", "stop_reason",
    "incomplete_details", "reason", "status", "include", "image_url", "source", "data", "max_tokens",
    "max_output_tokens", "mode", "allowed_tools", "response", "item", "part", "delta", "previous_response_id",
    "conversation", "id", "items", "enum", "$ref", "anyOf", "pattern", "output_config", "modalities",
    "reasoning", "effort",
]  # fmt: skip
WORDS = [
    "user", "assistant", "system", "developer", "tool", "function", "function_call_output", "tool_result",
    "tool_use", "text", "input_text", "message", "output_text", "image", "audio", "object", "array", "string",
    "json_schema", "json_object", "auto", "required", "any", "none", "length", "stop", "refusal",
]  # fmt: skip
TEXTS = st.text(max_size=30) | st.sampled_from(WORDS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | TEXTS, inner, max_size=5),
    max_leaves=25,
)
BODIES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
ANSWERS = st.builds(
    Answer,
    text=st.text(max_size=300),
    calls=st.lists(st.builds(ToolCall, name=TEXTS, arguments=TEXTS), max_size=2),
    logprobs=st.none() | st.lists(st.floats(), max_size=9),
)
DIALECTS = pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])


@DIALECTS
@given(body=BODIES, answer=ANSWERS)
@settings(max_examples=80, deadline=None)
def test_requests(dialect: str, body: dict[str, Any], answer: Answer) -> None:
    asked = asked_of(dialect, body)
    assert isinstance(asked, Asked)
    assert isinstance(asked.text, str)
    assert forced_tool(asked) is None or isinstance(forced_tool(asked), str)
    assert estimated_tokens(asked) > 0
    lacks(Tier("gpt-4o-mini", max_context=100), asked)
    task_kind(asked)
    assert 0 <= difficulty(asked) <= 1
    is_follow_up(asked)
    assert turn_key(asked, body=body) == turn_key(asked, body=body)
    wants_logprobs(dialect, body, Tier("gpt-4o-mini"))
    assert self_check_body(dialect, body, answer)
    for validator in VALIDATORS.values():
        why = validator(asked, answer)
        assert why is None or why
    assert 0 <= by_agreement(answer, answer, asked).value <= 1


@DIALECTS
@given(message=BODIES)
@settings(max_examples=80, deadline=None)
def test_answers(dialect: str, message: dict[str, Any]) -> None:
    answer = answer_of(dialect, message)
    assert answer.finish in {"stop", "length", "tools", "refusal", "filter"}
    by_logprobs(answer)
    prefix_confidence(answer.text, answer.logprobs)
    self_check_read(answer)
    hide_logprobs(dialect, message, {})


@given(text=st.text(max_size=2_000))
@settings(max_examples=100, deadline=None)
def test_texts(text: str) -> None:
    asked, answer = Asked(text, system=text, turns=(text,)), Answer(text)
    for validator in VALIDATORS.values():
        validator(asked, answer)
    is_follow_up(asked)
    by_agreement(answer, answer, asked)


@pytest.mark.parametrize(
    "piece",
    ["a", "@", "$$", "$", "\\[", "<think>", "```", "`", "~~~", "/", "_", "<", "://", "1", "1,", "1/", "|", "#### ",
     "\n", "\\boxed{", "I'm sorry, ", "* ", "answer ", "A. ", "ja ", "it ", " ", "\u4e2d", "\u4e2d@", "\u03b1",
     "write a ", "answer in "],
)  # fmt: skip
def test_long_strange_texts_take_no_time(piece: str) -> None:
    text = piece * (50_000 // len(piece))
    chinese = text + "\u4e2d\u6587" * 30
    start = time.thread_time()
    for asked, answer in ((Asked("Why?"), text), (Asked(text), "Because."), (Asked("Why?"), chinese)):
        for validator in VALIDATORS.values():
            validator(asked, Answer(answer))
        is_follow_up(asked)
        difficulty(asked)
        by_agreement(Answer(answer), Answer(answer + "."), asked)
    assert time.thread_time() - start < 3
