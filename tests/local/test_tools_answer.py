"""The server's bytes, cut anywhere, become the same answer in every dialect."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.errors import LocalModelError
from llmsaver.local.tools import Plan, plan
from llmsaver.local.tools_answer import Telling
from llmsaver.wire import DIALECTS
from llmsaver.wire.sse import encode

DIALECT_NAMES = ["chat", "messages", "responses"]
TOP = {"id": "chatcmpl-1", "created": 1, "model": "tiny", "object": "chat.completion.chunk"}
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CUTS = st.lists(st.integers(0, 4000), max_size=30)
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def planned(**more: Any) -> Plan:
    found = plan({"messages": [], "tools": [LOOK], **more}, knows_tools=False)[1]
    assert found is not None
    return found


def stream_of(texts: list[str], *, finish: str = "stop", logprobs: bool = False) -> bytes:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}]
    for text in texts:
        choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        if logprobs:
            choice["logprobs"] = {"content": [{"token": text, "logprob": -0.5}]}
        chunks.append({"choices": [choice]})
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": USAGE})
    return b"".join(encode({**TOP, **chunk}) for chunk in chunks) + b"data: [DONE]\n\n"


def whole_of(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({**TOP, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()


def cut(value: Any, cuts: list[int]) -> list[Any]:
    places = [0, *sorted({at for at in cuts if at < len(value)}), len(value)]
    return [value[start:end] for start, end in itertools.pairwise(places)]


def told(dialect: str, parts: list[bytes], plan_: Plan | None) -> Any:
    """Return the answer that the caller's dialect assembles from what is told of these bytes."""
    telling = Telling(dialect, {}, plan_)
    meter = DIALECTS[dialect].meter(True)
    for part in parts:
        meter.feed(telling.feed(part))
    meter.feed(telling.flush())
    assert meter.finished
    usage = meter.usage()
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (9, 3, 4)
    return meter.message()


def call_of(dialect: str, message: Any) -> tuple[str, str]:
    if dialect == "chat":
        function = message["choices"][0]["message"]["tool_calls"][0]["function"]
        return function["name"], function["arguments"]
    item = message["output"][0] if dialect == "responses" else message["content"][0]
    return item["name"], item["arguments"] if dialect == "responses" else json.dumps(item["input"])


def text_of(dialect: str, message: Any) -> str:
    if dialect == "chat":
        return str(message["choices"][0]["message"]["content"] or "")
    parts = message["output"] if dialect == "responses" else message["content"]
    if not parts:
        return ""
    return str(parts[0]["content"][0]["text"] if dialect == "responses" else parts[0]["text"])


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
@given(arguments=st.dictionaries(st.text(), JSON, max_size=3), token_cuts=CUTS, byte_cuts=CUTS, indent=st.booleans())
def test_arguments_come_out_as_the_model_wrote_them(
    dialect: str, arguments: Any, token_cuts: list[int], byte_cuts: list[int], indent: bool
) -> None:
    text = json.dumps(arguments, ensure_ascii=False, indent=2 if indent else None)
    stream = stream_of(cut(text, token_cuts))
    name, written = call_of(dialect, told(dialect, cut(stream, byte_cuts), planned(tool_choice="required")))
    assert name == "look"
    assert json.loads(written) == arguments
    assert dialect == "messages" or written == text
    telling, meter = Telling(dialect, {}, planned(tool_choice="required")), DIALECTS[dialect].meter(True)
    meter.feed(telling.whole(whole_of(text)))
    assert call_of(dialect, meter.message()) == (name, written)


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
@given(text=st.text(), token_cuts=CUTS, byte_cuts=CUTS)
def test_text_comes_out_as_it_went_in(dialect: str, text: str, token_cuts: list[int], byte_cuts: list[int]) -> None:
    stream = stream_of(cut(text, token_cuts))
    assert text_of(dialect, told(dialect, cut(stream, byte_cuts), None)) == text


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_arguments_leave_while_they_arrive(dialect: str) -> None:
    telling = Telling(dialect, {}, planned(tool_choice="required"))
    seen = [telling.feed(event + b"\n\n") for event in stream_of(list('{"a": 1}')).split(b"\n\n")]
    assert all(seen[1:9])


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_a_broken_call_is_told_before_the_end(dialect: str) -> None:
    telling = Telling(dialect, {}, planned(tool_choice="required"))
    *before, finish, usage, done, _ = stream_of(['{"a": ']).split(b"\n\n")
    for event in before:
        telling.feed(event + b"\n\n")
    with pytest.raises(LocalModelError, match="is not whole"):
        telling.feed(finish + b"\n\n")
    assert usage
    assert done


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_a_last_event_without_its_blank_line_is_read(dialect: str) -> None:
    stream = stream_of(["hi"]).removesuffix(b"\n\n")
    assert text_of(dialect, told(dialect, [stream], None)) == "hi"
    assert Telling(dialect, {}, None).flush() == b""


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_what_is_no_answer_stays(dialect: str) -> None:
    telling = Telling(dialect, {}, None)
    assert telling.whole(b"nonsense") == b"nonsense"
    assert telling.whole(b"{}") == b"{}"
    assert telling.feed(b"data: nonsense\n\n: ping\n\n") == b""
    cut_short = telling.feed(b"data: [DONE]\n\n")
    assert cut_short == (b"data: [DONE]\n\n" if dialect == "chat" else b"")


def test_log_probabilities_stay_with_their_text() -> None:
    message = told("responses", [stream_of(["one ", "two"], logprobs=True)], None)
    part = message["output"][0]["content"][0]
    assert [each["token"] for each in part["logprobs"]] == ["one ", "two"]
    message = told("chat", [stream_of(['{"a"', ": 1}"], logprobs=True)], planned(tool_choice="required"))
    choice = message["choices"][0]
    assert [each["token"] for each in choice["logprobs"]["content"]] == ['{"a"', ": 1}"]
    assert choice["finish_reason"] == "tool_calls"


def test_a_call_to_a_tool_that_was_not_given() -> None:
    telling = Telling("chat", {}, planned())
    with pytest.raises(LocalModelError, match="a tool 'other' that it was not given"):
        telling.feed(stream_of(['<tool_call>{"name": "other", "arguments": {}}</tool_call>']))


def test_a_response_repeats_its_request() -> None:
    telling = Telling("responses", {"temperature": 0.5, "tool_choice": "required", "metadata": None}, None)
    meter = DIALECTS["responses"].meter(True)
    meter.feed(telling.feed(stream_of(["hi"])))
    message = meter.message()
    assert message is not None
    assert (message["temperature"], message["tool_choice"], message["metadata"]) == (0.5, "required", {})
    assert message["id"] == "resp_1"
