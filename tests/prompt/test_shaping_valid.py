"""Whatever is asked, after shaping the provider takes it, by the rules that the fake provider knows."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.middleware.concise import Concise
from llmsaver.middleware.effort import Effort
from llmsaver.middleware.output_cap import OutputCap
from llmsaver.prompt.continuing import asked_on, can_continue, prefills
from llmsaver.testing.validation import refuse_body

WORDS = st.text(min_size=1, max_size=12)
MARK = st.just({"type": "ephemeral"})
MODELS = {
    "chat": ["gpt-5-mini", "gpt-4o", "o3", "local/x", "o1-mini"],
    "responses": ["gpt-5.2", "gpt-4o", "o4-mini"],
    "messages": ["claude-opus-4-6", "claude-haiku-4-5", "claude-sonnet-5", "claude-3-5-sonnet-20241022"],
}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    parts = WORDS | st.lists(WORDS.map(lambda text: {"type": "text", "text": text}), min_size=1, max_size=2)
    messages: list[Any] = [
        {"role": draw(st.sampled_from(["system", "developer"])), "content": draw(parts)}
        for _ in range(draw(st.integers(0, 2)))
    ]
    for number in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(parts)})
        if draw(st.booleans()):
            ids = [f"c{number}{each}" for each in range(draw(st.integers(1, 2)))]
            calls = [{"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in ids]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            messages += [{"role": "tool", "tool_call_id": i, "content": draw(WORDS)} for i in ids]
        elif draw(st.booleans()):
            messages.append({"role": "assistant", "content": draw(parts)})
    tool = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
    return draw(options({"messages": messages}, tool, "reasoning_effort"))


@st.composite
def responses(draw: st.DrawFn) -> dict[str, Any]:
    item = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "developer"]), "content": WORDS})
    body: dict[str, Any] = {"input": draw(WORDS | st.lists(item, min_size=1, max_size=3))}
    if draw(st.booleans()):
        body["instructions"] = draw(WORDS)
    if draw(st.booleans()):
        body["previous_response_id"] = "resp_1"
    tool = {"type": "function", "name": "f", "parameters": SCHEMA}
    return draw(options(body, tool, "max_output_tokens"))


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    blocks = st.lists(WORDS.map(lambda text: {"type": "text", "text": text}), min_size=1, max_size=2)
    turns: list[Any] = []
    for number in range(draw(st.integers(1, 3))):
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
        turns.append({"role": "user", "content": draw(WORDS | blocks | st.just([image]))})
        if draw(st.booleans()):
            ids = [f"t{number}{each}" for each in range(draw(st.integers(1, 2)))]
            thought = [{"type": "thinking", "thinking": "hm", "signature": "s"}] if draw(st.booleans()) else []
            uses = [{"type": "tool_use", "id": i, "name": "f", "input": {}} for i in ids]
            turns.append({"role": "assistant", "content": [*thought, *uses]})
            results = [{"type": "tool_result", "tool_use_id": i, "content": draw(WORDS)} for i in ids]
            turns.append({"role": "user", "content": results})
        elif draw(st.booleans()):
            turns.append({"role": "assistant", "content": draw(WORDS | blocks)})
    body: dict[str, Any] = {"messages": turns, "max_tokens": draw(st.integers(1, 99))}
    if draw(st.booleans()):
        marked = draw(st.integers(0, 4))
        text = {"type": "text", "text": "be kind"}
        system = [{**text, "cache_control": {"type": "ephemeral"}} for _ in range(marked)]
        body["system"] = draw(WORDS | st.just([*system, text]))
    if draw(st.booleans()):
        body["thinking"] = {"type": "adaptive"}
    return draw(options(body, {"name": "f", "input_schema": SCHEMA}, "temperature"))


@st.composite
def options(draw: st.DrawFn, body: dict[str, Any], tool: dict[str, Any], name: str) -> dict[str, Any]:
    values = {"reasoning_effort": "high", "max_output_tokens": 50, "temperature": 0.5}
    if draw(st.booleans()):
        body["tools"] = [tool]
    if draw(st.booleans()):
        body[name] = values[name]
    if draw(st.booleans()):
        body["stream"] = True
    return body


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    dialect = draw(st.sampled_from(["chat", "responses", "messages"]))
    body = draw({"chat": chats(), "responses": responses(), "messages": messages()}[dialect])
    return dialect, {"model": draw(st.sampled_from(MODELS[dialect])), **body}


@settings(max_examples=150, deadline=None)
@given(asked(), st.text(min_size=1, max_size=200).filter(lambda text: text.strip()))
def test_after_shaping_a_request_is_valid(what: tuple[str, dict[str, Any]], text: str) -> None:
    dialect, body = what
    before = copy.deepcopy(body)
    assert refuse_body(dialect, body) is None
    url = "https://api.anthropic.com/v1/messages" if dialect == "messages" else "https://api.openai.com/v1/x"
    cap = OutputCap(minimum_samples=1)
    cap.lengths.note(("default", body["model"], ""), 10)
    seen: list[Any] = []

    async def below(request: Request) -> Response:
        seen.append(request.body)
        return Response(200, content=b"{}")

    for layer in (Concise("terse"), Effort("low", verbosity="low"), cap):
        request = Request(dialect, seen[-1] if seen else body, url, Entry(dialect, body["model"]), SyncRuntime())
        drive(layer(request, below))
        assert refuse_body(dialect, seen[-1]) is None
    if can_continue(dialect, seen[-1]) is None:
        prefilling = prefills(dialect, seen[-1])
        assert refuse_body(dialect, asked_on(dialect, seen[-1], text, prefilling=prefilling)) is None
        again = asked_on(dialect, seen[-1], f"{text} ", prefilling=prefilling)
        last = again["messages" if dialect != "responses" else "input"][-1]
        if last["role"] == "assistant" and isinstance(last["content"], str):
            assert last["content"] == last["content"].rstrip()
    assert body == before
