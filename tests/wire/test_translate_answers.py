"""Whole answers and errors: both vendors' shapes, ends and counts, and what has no equal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from llmsaver.testing import usage_variants
from llmsaver.testing.vendor_errors import Refused
from llmsaver.wire.chat import chat_usage
from llmsaver.wire.messages import messages_usage
from llmsaver.wire.translate import Untranslatable, answer_to, error_to

CHAT_USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 9,
    "total_tokens": 39,
    "prompt_tokens_details": {"cached_tokens": 12, "cache_write_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
MESSAGES_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 8,
    "cache_read_input_tokens": 12,
    "output_tokens": 9,
    "output_tokens_details": {"thinking_tokens": 4},
}


def chat(said: dict[str, Any] | None = None, finish: str = "stop", **more: Any) -> dict[str, Any]:
    """Write a chat completion."""
    message = {"role": "assistant", "content": "hi", "refusal": None, **(said or {})}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [choice],
        "usage": CHAT_USAGE,
        **more,
    }


def message(content: list[dict[str, Any]] | None = None, stop: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    """Write a message."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "hi"}] if content is None else content,
        "stop_reason": stop,
        "stop_sequence": None,
        "stop_details": None,
        "usage": MESSAGES_USAGE,
        **more,
    }


def to_chat(source: dict[str, Any]) -> dict[str, Any]:
    """Translate and check against the SDK's own type."""
    told = answer_to("chat", source, source="messages")
    ChatCompletion.model_validate(told, strict=True)
    return told


def to_messages(source: dict[str, Any]) -> dict[str, Any]:
    """Translate and check against the SDK's own type."""
    told = answer_to("messages", source, source="chat")
    Message.model_validate(told, strict=True)
    return told


def test_a_text_and_its_tokens() -> None:
    assert {**to_chat(message()), "created": 5} == chat()
    assert to_messages(chat()) == message()


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": "ä"}'}}
USE = {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": "ä"}}


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])  # chat says "stop" where the tool was forced
def test_calls(finish: str) -> None:
    other, another = {**CALL, "id": "call_2"}, {**USE, "id": "call_2"}
    told = to_messages(chat({"content": None, "tool_calls": [CALL, other]}, finish))
    assert told == message([USE, another], "tool_use")
    back = to_chat(told)["choices"][0]
    assert back["message"] == {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL, other]}
    assert back["finish_reason"] == "tool_calls"


def test_text_before_calls() -> None:
    told = to_messages(chat({"content": "Let me look.", "tool_calls": [CALL]}, "tool_calls"))
    assert told["content"] == [{"type": "text", "text": "Let me look."}, USE]
    assert to_chat(told)["choices"][0]["message"]["content"] == "Let me look."


ENDS = [("end_turn", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls"), ("refusal", "content_filter")]
ONE_WAY = [
    ("stop_sequence", "stop"),
    ("model_context_window_exceeded", "length"),
    ("pause_turn", "length"),
    ("something_new", "stop"),
    (None, "stop"),
]


@pytest.mark.parametrize(("stop", "finish"), [*ENDS, *ONE_WAY])
def test_why_a_message_ended(stop: str | None, finish: str) -> None:
    assert to_chat(message(stop=stop))["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize(("stop", "finish"), ENDS)
def test_why_a_completion_ended(stop: str, finish: str) -> None:
    told = to_messages(chat(finish=finish))
    assert told["stop_reason"] == stop
    assert (told["stop_details"] is not None) is (stop == "refusal")


def test_which_stop_sequence_it_was_where_the_server_says_so() -> None:
    answer = chat()
    answer["choices"][0]["stop_reason"] = "END"
    told = to_messages(answer)
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")
    answer["choices"][0]["stop_reason"] = 128001  # a token, not a word of the caller's
    assert to_messages(answer)["stop_reason"] == "end_turn"


def test_a_refusal_is_text_that_says_so() -> None:
    told = to_messages(chat({"content": None, "refusal": "I can't."}))
    assert told["content"] == [{"type": "text", "text": "I can't."}]
    assert told["stop_reason"] == "refusal"


def test_the_explanation_of_a_refusal_is_kept() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "It may harm."}
    choice = to_chat(message([], "refusal", stop_details=details))["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "", "refusal": "It may harm."}
    assert choice["finish_reason"] == "content_filter"


def test_thoughts_stay_behind_and_texts_are_one() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    texts: list[dict[str, Any]] = [
        {"type": "text", "text": "a", "citations": None},
        {"type": "text", "text": "b", "citations": []},
    ]
    told = to_chat(message([thought, {"type": "redacted_thinking", "data": "x"}, *texts]))
    assert told["choices"][0]["message"]["content"] == "ab"
    assert to_messages(chat({"reasoning_content": "hm"}))["content"] == [{"type": "text", "text": "hi"}]


def test_arguments_that_were_cut_short_are_not_lost() -> None:
    cut = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}
    told = to_messages(chat({"content": None, "tool_calls": [cut]}, "length"))
    assert told["stop_reason"] == "max_tokens"
    assert told["content"] == [{**USE, "input": {}, "partial_json": '{"a": '}]
    assert to_chat(told)["choices"][0]["message"]["tool_calls"] == [cut]


@pytest.mark.parametrize(("written", "given"), [("", {}), (None, {}), ("{}", {})])
def test_no_arguments_are_an_empty_object(written: str | None, given: dict[str, Any]) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": written}}
    told = to_messages(chat({"tool_calls": [call]}))
    assert told["content"][1]["input"] == given
    assert to_chat(told)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_an_id_the_vendor_would_not_take_back_is_replaced() -> None:
    ids = [
        to_messages(chat({"tool_calls": [{**CALL, "id": given}]}))["content"][1]["id"]
        for given in ("functions.f:0", "", None, "call_1")
    ]
    assert [each.startswith("toolu_") for each in ids] == [True, True, True, False]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("dialect", "answer", "named"),
    [
        ("chat", message([{"type": "server_tool_use", "id": "x"}]), "content[0].type"),
        ("chat", message([{"type": "text", "text": "a", "citations": [{"type": "c"}]}]), "content[0].citations"),
        ("chat", {"content": "hi"}, "content is no list"),
        ("chat", {"type": "message"}, "content is no list"),
        ("chat", {"content": ["hi"]}, "content is no list"),
        ("messages", chat(choices=[]), "choices"),
        ("messages", chat(choices=[{"index": 0}, {"index": 1}]), "choices"),
        ("messages", chat({"audio": {"id": "a"}}), "message.audio"),
        ("messages", chat({"function_call": {"name": "f"}}), "message.function_call"),
        ("messages", chat({"tool_calls": [{"id": "a", "type": "custom", "custom": {}}]}), "tool_calls[0]"),
        ("messages", {"object": "error"}, "choices"),
    ],
)
def test_what_has_no_equal_is_named(dialect: str, answer: dict[str, Any], named: str) -> None:
    with pytest.raises(Untranslatable) as found:
        answer_to(dialect, answer, source="chat" if dialect == "messages" else "messages")
    assert named in found.value.why


@pytest.mark.parametrize("dialect", ["chat", "messages"])
def test_every_way_to_report_usage_keeps_its_counts(dialect: str) -> None:
    readers: dict[str, Any] = {"chat": chat_usage, "messages": messages_usage}
    other = "messages" if dialect == "chat" else "chat"
    for name, variant in usage_variants(dialect).items():
        raw = None if variant.usage == "missing" else variant.usage
        answer = {**(chat() if dialect == "chat" else message()), "usage": raw}
        told = answer_to(other, answer, source=dialect)
        ours = readers[dialect](raw) if isinstance(raw, dict) else None
        theirs = readers[other](told["usage"]) if "usage" in told else None
        for count in ("input", "output", "cache_read", "cache_write", "reasoning"):
            assert getattr(ours, f"{count}_tokens", None) == getattr(theirs, f"{count}_tokens", None), name


def test_the_tier_that_served_it_is_kept_where_both_have_it() -> None:
    assert to_chat(message(usage={**MESSAGES_USAGE, "service_tier": "priority"}))["service_tier"] == "priority"
    assert to_chat(message(usage={**MESSAGES_USAGE, "service_tier": "standard"}))["service_tier"] == "default"
    assert "service_tier" not in to_chat(message(usage={**MESSAGES_USAGE, "service_tier": "batch"}))
    assert to_messages(chat(service_tier="default"))["usage"]["service_tier"] == "standard"
    assert "service_tier" not in to_messages(chat(service_tier="flex"))["usage"]


names = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
inputs = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.lists(st.booleans(), max_size=2))


@settings(deadline=None)
@given(st.text(max_size=20), st.lists(st.tuples(names, names, inputs), max_size=3), st.sampled_from(ENDS))
def test_there_and_back(text: str, calls: list[tuple[str, str, dict[str, Any]]], end: tuple[str, str]) -> None:
    said: dict[str, Any] = {"content": text if text or not calls else None}
    if calls:
        said["tool_calls"] = [
            {
                "id": key,
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(given, ensure_ascii=False)},
            }
            for key, name, given in calls
        ]
    answer = chat(said, "tool_calls" if calls and end[1] == "stop" else end[1])
    assert {**to_chat(to_messages(answer)), "created": 5} == answer


STATUSES = [400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 504, 529]


@pytest.mark.parametrize("status", STATUSES)
def test_an_error_is_as_the_callers_vendor_says_it(status: int) -> None:
    openai, anthropic = (Refused(status).body(vendor, "m", "req_1") for vendor in ("openai", "anthropic"))
    told = json.loads(error_to("messages", json.dumps(openai).encode(), status, source="chat"))
    assert told["type"] == "error"
    assert told["error"]["message"] == openai["error"]["message"]
    if status not in (503, 422):  # the fake has no words of Anthropic's for these
        assert told["error"]["type"] == anthropic["error"]["type"]
    back = json.loads(error_to("chat", json.dumps(anthropic).encode(), status, source="messages"))
    assert back["error"]["message"] == anthropic["error"]["message"]
    assert set(back["error"]) == {"message", "type", "param", "code"}
    if status not in (403, 404, 409, 529):
        assert back["error"]["type"] == openai["error"]["type"]


def test_a_prompt_that_is_too_long_is_recognised_in_both() -> None:
    known = {"error": {"message": "This model's maximum context length is 5.", "code": "context_length_exceeded"}}
    told = error_to("messages", json.dumps(known).encode(), 400, source="chat")
    assert b"prompt is too long: This model's" in told
    back = json.loads(error_to("chat", told, 400, source="messages"))
    assert back["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"<html>Bad gateway</html>", 502, "<html>Bad gateway</html>"),
        (b"", 503, "Service Unavailable"),
        (b"", 599, "status 599"),
        (b'{"error": "no such model"}', 404, "no such model"),
        (b'{"message": "no"}', 418, "no"),
        (b"\xff", 500, "\ufffd"),
        (b"x" * 2000, 500, "x" * 500),
    ],
)
def test_whatever_a_proxy_answers_becomes_an_error(content: bytes, status: int, words: str) -> None:
    for dialect, source in (("chat", "messages"), ("messages", "chat")):
        assert json.loads(error_to(dialect, content, status, source=source))["error"]["message"] == words


def test_a_model_that_is_not_there_has_its_code_in_chat() -> None:
    body = json.dumps({"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}).encode()
    assert json.loads(error_to("chat", body, 404, source="messages"))["error"]["code"] == "model_not_found"
