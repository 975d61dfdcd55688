"""Responses told as streams, and streams read as responses, with the real SDK as judge."""

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

RESPONSES = DIALECTS["responses"]
counts = st.integers(0, 10**6)
texts = st.one_of(
    st.text(max_size=8), st.builds(str.__mul__, st.sampled_from(["é\n", "response.failed", "\0"]), st.integers(1, 400))
)
logprobs = st.lists(st.just({"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}), max_size=2)
annotation = st.just({"type": "url_citation", "start_index": 0, "end_index": 1, "title": "t", "url": "u"})
parts = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("output_text"), "text": texts, "annotations": st.lists(annotation, max_size=2)},
        optional={"logprobs": logprobs},
    ),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": texts}),
)
status = st.just("completed")
items = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "role": st.just("assistant"),
            "status": status,
            "content": st.lists(parts, max_size=2),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("reasoning"),
            "summary": st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": texts}), max_size=2),
        },
        optional={
            "content": st.lists(st.fixed_dictionaries({"type": st.just("reasoning_text"), "text": texts}), max_size=2),
            "encrypted_content": st.none() | texts,
            "status": status,
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("function_call"), "name": st.just("f"), "arguments": texts, "status": status}
    ),
    st.fixed_dictionaries({"type": st.just("custom_tool_call"), "name": st.just("f"), "input": texts}),
    st.fixed_dictionaries(
        {
            "type": st.just("code_interpreter_call"),
            "code": st.none() | texts,
            "container_id": st.just("c"),
            "status": status,
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("web_search_call"), "status": status, "action": st.just({"type": "search"})}
    ),
)
responses = st.fixed_dictionaries(
    {
        "id": st.just("resp_1"),
        "object": st.just("response"),
        "created_at": counts,
        "model": st.just("gpt"),
        "status": st.sampled_from(["completed", "incomplete", "failed"]),
        "output": st.lists(items, max_size=4).map(
            lambda items: [{"id": f"i{n}", "call_id": f"c{n}", **item} for n, item in enumerate(items)]
        ),
        "parallel_tool_calls": st.booleans(),
        "tool_choice": st.just("auto"),
        "tools": st.just([]),
        "usage": st.fixed_dictionaries({"input_tokens": counts, "output_tokens": counts, "total_tokens": counts}),
    },
    optional={"incomplete_details": st.none() | st.just({"reason": "max_output_tokens"}), "error": st.none()},
)


@given(responses, st.lists(st.integers(0, 10**6), max_size=5))
def test_a_response_told_as_a_stream_is_the_same_response(message: dict[str, Any], cuts: list[int]) -> None:
    body = b"".join(RESPONSES.replay(message, {}))
    meter = RESPONSES.meter(streamed=True)
    edges = [0, *sorted({c % (len(body) + 1) for c in cuts}), len(body)]
    for a, b in pairwise(edges):
        ended = meter.feed(body[a:b])
    assert ended
    assert meter.finished is (message["status"] != "failed")
    assert meter.message() == message
    usage = meter.usage()
    assert usage is not None
    assert usage.raw == message["usage"]


@given(responses)
def test_cut_before_its_end_a_stream_gives_every_item(message: dict[str, Any]) -> None:
    *events, _ = RESPONSES.replay(message, {})
    partial = assembled(*events)
    assert partial["status"] == "in_progress"
    assert partial["output"] == message["output"]
    # Without the events that repeat an item in full, its deltas still say the text.
    deltas = [e for e in events if b".done\n" not in e.split(b"data:")[0]]
    assert texts_of(assembled(*deltas)["output"]) == texts_of(message["output"])


def texts_of(items: list[dict[str, Any]]) -> list[Any]:
    keys = ("text", "refusal", "arguments", "input", "code")
    return [
        [[part.get(key) for part in (item, *item.get("content", ()), *item.get("summary", ()))] for key in keys]
        for item in items
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(message=responses)
def test_the_sdk_accumulates_the_same_response(
    message: dict[str, Any], openai_sdk: Callable[..., openai.OpenAI]
) -> None:
    message = {**message, "status": "completed"}
    with openai_sdk(b"".join(RESPONSES.replay(message, {}))).responses.stream(model="m", input="x") as stream:
        numbers = [event.sequence_number for event in stream]
        final = stream.get_final_response()
    assert numbers == list(range(len(numbers)))
    got = json.loads(final.to_json(exclude_unset=True))
    for item in got["output"]:
        item.pop("parsed_arguments", None)
        for part in item.get("content") or ():
            part.pop("parsed", None)
    assert got == message


def test_the_sdk_iterates_every_event(openai_sdk: Callable[..., openai.OpenAI]) -> None:
    message = {
        "id": "r",
        "status": "incomplete",
        "output": [
            {"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]},
            {
                "id": "m",
                "type": "message",
                "status": "completed",
                "content": [{"type": "output_text", "text": "x" * 600, "annotations": [{"type": "odd"}]}],
            },
            {"id": "f", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ],
    }
    client = openai_sdk(b"".join(RESPONSES.replay(message, {})))
    told = [
        event.type.removeprefix("response.") for event in client.responses.create(model="m", input="x", stream=True)
    ]
    assert told == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "incomplete",
    ]


def assembled(*events: bytes) -> dict[str, Any]:
    meter = RESPONSES.meter(streamed=True)
    meter.feed(b"".join(events))
    message = meter.message()
    assert message is not None
    return message


def event(kind: str, **more: Any) -> bytes:
    return f"data: {json.dumps({'type': kind, **more})}\n\n".encode()


@pytest.mark.parametrize("output", [None, []])
def test_a_terminal_event_without_its_items_gets_them_back(output: list[Any] | None) -> None:
    told = [
        event("response.output_item.added", output_index=1, item={"type": "message", "content": []}),
        event("response.output_text.delta", output_index=1, content_index=0, delta="a"),
        event("response.output_item.done", output_index=0, item={"type": "reasoning"}),
        event("response.output_text.delta", output_index=1, content_index=0, delta="b"),
        event("response.output_text.delta", output_index=5, content_index=0, delta="nowhere"),
        event("response.content_part.added", output_index=1, content_index=1, part={"type": "refusal", "refusal": "n"}),
        event("response.refusal.delta", output_index=1, content_index=1, delta="o"),
        event("response.completed", response={"id": "r", "output": output}),
    ]
    assert assembled(*told) == {
        "id": "r",
        "output": [
            {"type": "reasoning"},
            {
                "type": "message",
                "content": [{"type": "output_text", "text": "ab"}, {"type": "refusal", "refusal": "no"}],
            },
        ],
    }


def test_odd_responses_are_still_streams() -> None:
    odd = {
        "output": [
            "x",
            {},
            {"type": "message", "content": ["x", {"type": "odd"}]},
            {"type": "mcp_call", "arguments": 5},
        ]
    }
    assert assembled(*RESPONSES.replay(odd, {})) == odd
    assert [json.loads(e.split(b"data: ")[1])["type"] for e in RESPONSES.replay({}, {})] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    assert b"response.incomplete" in list(RESPONSES.replay({"status": "cancelled"}, {}))[-1]
