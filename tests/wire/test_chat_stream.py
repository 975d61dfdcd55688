"""Chat answers told as streams, and streams read as answers, with the real SDK as judge."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmsaver.wire import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    import openai

CHAT = DIALECTS["chat"]
ASKED = {"stream": True, "stream_options": {"include_usage": True}}
counts = st.integers(0, 10**6)
short = st.text(max_size=8)
# Now and then longer than one piece.
texts = st.one_of(
    short, st.builds(str.__mul__, st.sampled_from(["é\n", "[DONE]", '"usage": {}', "\0"]), st.integers(1, 600))
)
logprob = st.fixed_dictionaries(
    {"token": short, "logprob": st.floats(-9, 0), "bytes": st.none(), "top_logprobs": st.just([])}
)
function_calls = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": st.sampled_from(["f", "get_weather"]), "arguments": texts}),
    }
)
custom_calls = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "type": st.just("custom"),
        "custom": st.fixed_dictionaries({"name": st.just("shell"), "input": texts}),
    }
)


def answers(calls: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    message = st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": st.none() | texts, "refusal": st.none() | texts},
        optional={
            "tool_calls": st.lists(calls, min_size=1, max_size=3),
            "reasoning_content": texts,
            "annotations": st.just([{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]),
            "audio": st.just({"id": "a", "data": "QUJD", "expires_at": 3, "transcript": "hi"}),
            "function_call": st.just({"name": "f", "arguments": "{}"}),
        },
    )
    logprobs = st.fixed_dictionaries({"content": st.none() | st.lists(logprob, max_size=3), "refusal": st.none()})
    choice = st.fixed_dictionaries(
        {"message": message, "finish_reason": st.sampled_from(["stop", "length", "tool_calls"])},
        optional={"logprobs": st.none() | logprobs, "content_filter_results": st.just({"hate": {"filtered": False}})},
    )
    return st.fixed_dictionaries(
        {
            "id": st.just("chatcmpl-1"),
            "object": st.just("chat.completion"),
            "created": counts,
            "model": st.just("gpt"),
            "choices": st.lists(choice, min_size=1, max_size=3).map(
                lambda choices: [{"index": i, **choice} for i, choice in enumerate(choices)]
            ),
            "usage": st.fixed_dictionaries(
                {"prompt_tokens": counts, "completion_tokens": counts, "total_tokens": counts}
            ),
        },
        optional={
            "system_fingerprint": st.none() | st.just("fp_1"),
            "service_tier": st.just("flex"),
            "provider": st.just("somebody"),
        },
    )


@given(answers(function_calls | custom_calls), st.lists(st.integers(0, 10**6), max_size=5))
def test_an_answer_told_as_a_stream_is_the_same_answer(message: dict[str, Any], cuts: list[int]) -> None:
    body = b"".join(CHAT.replay(message, ASKED))
    meter = CHAT.meter(streamed=True)
    edges = [0, *sorted({c % (len(body) + 1) for c in cuts}), len(body)]
    for a, b in pairwise(edges):
        ended = meter.feed(body[a:b])
    assert ended
    assert meter.finished
    assert meter.message() == message
    usage = meter.usage()
    assert usage is not None
    assert usage.raw == message["usage"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
@given(message=answers(function_calls).filter(lambda m: all(c["finish_reason"] != "length" for c in m["choices"])))
def test_the_sdk_accumulates_the_same_answer(message: dict[str, Any], openai_sdk: Callable[..., openai.OpenAI]) -> None:
    client = openai_sdk(b"".join(CHAT.replay(message, ASKED)))
    with client.chat.completions.stream(model="m", messages=[]) as stream:
        final = stream.get_final_completion()
    got = final.model_dump(exclude_none=True)
    for choice in got["choices"]:
        for call in choice["message"].get("tool_calls", ()):
            call.pop("index")
    # The SDK keeps the transport's keys of a choice's first chunk only.
    assert {**got, "choices": None} == {**pruned(message), "choices": None}
    for choice, want in zip(got["choices"], pruned(message)["choices"], strict=True):
        assert choice == {key: value for key, value in want.items() if key != "content_filter_results"}


def pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: pruned(inner) for key, inner in value.items() if inner is not None}
    return [pruned(inner) for inner in value] if isinstance(value, list) else value


def test_the_sdk_iterates_every_chunk(openai_sdk: Callable[..., openai.OpenAI]) -> None:
    message = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 1300}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    client = openai_sdk(b"".join(CHAT.replay(message, {"stream": True})))
    chunks = list(client.chat.completions.create(model="m", messages=[], stream=True))
    assert [len(c.choices[0].delta.content or "") for c in chunks] == [0, 512, 512, 276, 0]
    assert [c.choices[0].delta.role for c in chunks] == ["assistant", None, None, None, None]
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, None, None, "stop"]
    assert all(c.usage is None and c.object == "chat.completion.chunk" for c in chunks)


def test_tokens_and_their_log_probabilities_stay_together() -> None:
    tokens = [{"token": t, "logprob": -0.1} for t in ("a", "b")]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "ab", "refusal": None},
        "logprobs": {"content": tokens, "refusal": None},
        "finish_reason": "stop",
    }
    told = [json.loads(e[6:]) for e in list(CHAT.replay({"id": "c", "choices": [choice]}, {}))[:-1]]
    assert [(c["choices"][0]["delta"].get("content"), c["choices"][0]["logprobs"]) for c in told] == [
        ("", None),
        ("ab", {"content": tokens, "refusal": None}),
        (None, None),
    ]


@pytest.mark.parametrize("message", [{}, {"choices": None}, {"choices": [1]}, {"id": "c", "choices": []}])
def test_an_answer_without_choices_is_still_a_stream(message: dict[str, Any]) -> None:
    first, done = CHAT.replay(message, {"stream_options": "nonsense"})
    assert json.loads(first[6:])["choices"] == []
    assert done == b"data: [DONE]\n\n"


def test_odd_parts_travel_whole() -> None:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "odd", "odd": {}}]},
        "finish_reason": "stop",
    }
    empty = {"index": 1, "message": {"role": "assistant", "content": "x", "tool_calls": []}, "finish_reason": "stop"}
    message = {"id": "c", "object": "chat.completion", "choices": [choice, empty]}
    assert assembled(*CHAT.replay(message, {})) == message


def assembled(*events: bytes) -> dict[str, Any]:
    meter = CHAT.meter(streamed=True)
    meter.feed(b"".join(events))
    message = meter.message()
    assert message is not None
    return message


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


def delta(**said: Any) -> bytes:
    return chunk({"index": 0, "delta": said})


def test_what_other_servers_send() -> None:
    message = assembled(
        chunk(id="", model="", prompt_filter_results=[1]),
        chunk({"index": 0, "delta": {"role": "assistant", "content": None}}, id="c", model="m", obfuscation="x"),
        # The role in every chunk, calls without an index, repeated ids, log probabilities token by token.
        delta(role="assistant", content="a", reasoning="r1"),
        delta(role="assistant", content="b", reasoning="r2", annotations=[1]),
        delta(annotations=[2]),
        delta(tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]),
        delta(tool_calls=[{"function": {"arguments": "{"}}]),
        delta(tool_calls=[{"id": "2", "function": {"name": "g", "arguments": "}"}}, "nonsense"]),
        chunk({"index": 0, "delta": {}, "logprobs": {"content": [1], "refusal": None}}),
        chunk({"index": 0, "delta": {}, "logprobs": {"content": [2], "refusal": [3]}}),
        chunk({"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": 7}, id="", system_fingerprint="fp"),
        chunk(moderation={"input": 1}, usage={"prompt_tokens": 1}),
    )
    assert message == {
        "id": "c",
        "model": "m",
        "prompt_filter_results": [1],
        "moderation": {"input": 1},
        "system_fingerprint": "fp",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "ab",
                    "reasoning": "r1r2",
                    "annotations": [1, 2],
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}},
                        {"id": "2", "function": {"name": "g", "arguments": "}"}},
                    ],
                },
                "logprobs": {"content": [1, 2], "refusal": [3]},
                "finish_reason": "stop",
                "stop_reason": 7,
            }
        ],
        "usage": {"prompt_tokens": 1},
    }


def test_a_delta_nested_beyond_the_stack_gives_no_message() -> None:
    deep: dict[str, Any] = {}
    for _ in range(150):
        deep = {"a": deep}
    assert assembled(delta(content="x", deep=deep))["choices"][0]["message"]["deep"] == deep
    meter = CHAT.meter(streamed=True)
    meter.feed(b'data: {"choices":[{"delta":' + b'{"a":' * 700 + b"1" + b"}" * 700 + b"}]}\n\n")
    meter.message()
