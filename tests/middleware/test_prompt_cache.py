"""Marks on the wire, as the providers get them from the real SDKs; and calls that must not be touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest

import llmsaver
from llmsaver import ConfigurationError, Saver
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.middleware.prompt_cache import PromptCache
from llmsaver.pricing import PriceBook
from llmsaver.testing import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SYSTEM = "You answer questions about the archive. " * 300
ASK: Any = [{"role": "user", "content": "What is new?"}]
TOOL: Any = {"name": "look", "description": "looks", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider("Nothing.")


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[Saver]:
    with Saver(stack=[PromptCache()], ledger=str(tmp_path / "ledger.db")) as saver:
        yield saver


def clients(saver: Saver, provider: FakeProvider) -> tuple[llmsaver.OpenAI, llmsaver.Anthropic]:
    def http() -> httpx2.Client:
        return httpx2.Client(transport=provider.transport())

    return (
        llmsaver.OpenAI(api_key="k", http_client=http(), saver=saver, max_retries=0),
        llmsaver.Anthropic(api_key="k", http_client=http(), saver=saver, max_retries=0),
    )


def sent(provider: FakeProvider) -> Any:
    return provider.requests[-1].json


def acts(saver: Saver) -> list[str]:
    assert saver.last is not None
    return [act.action for act in saver.last.layers if act.name == "prompt cache"]


@pytest.mark.parametrize("stream", [False, True])
def test_claudes_instructions_are_marked(saver: Saver, provider: FakeProvider, stream: bool) -> None:
    _, claude = clients(saver, provider)
    answer = claude.messages.create(
        model="claude-sonnet-5", max_tokens=9, system=SYSTEM, messages=ASK, tools=[TOOL], stream=stream
    )
    if stream:
        list(answer)
    body = sent(provider)
    assert body["system"] == [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]
    assert body["cache_control"] == {"type": "ephemeral"}
    assert body["messages"] == ASK
    assert "marked" in acts(saver)


def test_gpts_shared_instructions_get_a_breakpoint(saver: Saver, provider: FakeProvider) -> None:
    gpt, _ = clients(saver, provider)
    for question in ("What is new?", "What is old?"):
        gpt.chat.completions.create(
            model="gpt-6-luna", messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        )
    body = sent(provider)
    assert body["messages"][0]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert body["prompt_cache_options"] == {"mode": "explicit"}
    assert len({request.json["prompt_cache_key"] for request in provider.requests}) == 1


def test_short_requests_and_the_callers_marks_are_left_alone(saver: Saver, provider: FakeProvider) -> None:
    gpt, claude = clients(saver, provider)
    gpt.chat.completions.create(model="gpt-6-luna", messages=ASK)
    assert sent(provider).keys() == {"model", "messages"}
    own: Any = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    claude.messages.create(model="claude-sonnet-5", max_tokens=9, system=own, messages=ASK)
    assert sent(provider)["system"] == own
    assert "cache_control" not in sent(provider)
    assert acts(saver) == []


def test_other_hosts_are_left_alone(saver: Saver, provider: FakeProvider) -> None:
    http = httpx2.Client(transport=provider.transport())
    client = llmsaver.OpenAI(api_key="k", http_client=http, saver=saver, base_url="https://gateway.example/v1")
    client.chat.completions.create(model="gpt-6-luna", messages=[{"role": "system", "content": SYSTEM}, *ASK])
    assert sent(provider)["messages"][0]["content"] == SYSTEM


def test_what_breaks_the_cache_is_told(saver: Saver, provider: FakeProvider) -> None:
    _, claude = clients(saver, provider)
    for minute in range(3):
        system = f"You are an archivist.\nYou are kind and cite your sources.\nIt is 10:0{minute}.\n{SYSTEM}"
        claude.messages.create(model="claude-sonnet-5", max_tokens=9, system=system, messages=ASK)
    assert saver.last is not None
    (act,) = [act for act in saver.last.layers if act.action == "broken"]
    assert act.why == "time in the system prompt, line 3"
    layer = next(layer for layer in saver.layers if isinstance(layer, PromptCache))
    assert layer.breaks.told() == [("default claude-sonnet-5", "time in the system prompt, line 3", 3)]


def test_parameters_that_a_provider_refuses_are_taken_back(tmp_path: Path) -> None:
    bodies: list[Any] = []

    def receive(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        if "prompt_cache_key" in bodies[-1]:
            error = {"message": "Unrecognized request argument supplied: prompt_cache_key", "code": None}
            return httpx2.Response(400, json={"error": error})
        return httpx2.Response(400, json={"error": {"message": "something else", "code": None}})

    http = httpx2.Client(transport=httpx2.MockTransport(receive))
    with Saver(stack=[PromptCache()], ledger=str(tmp_path / "l.db")) as saver:
        client = llmsaver.OpenAI(api_key="k", http_client=http, saver=saver, max_retries=0)
        messages: Any = [{"role": "system", "content": SYSTEM}, *ASK]
        for _ in range(2):
            with pytest.raises(openai.BadRequestError, match="something else"):
                client.chat.completions.create(model="gpt-6-luna", messages=messages)
    assert ["prompt_cache_key" in body for body in bodies] == [True, False, False]
    assert bodies[-1]["messages"] == messages


def test_a_refusal_of_something_else_is_the_callers(saver: Saver) -> None:
    seen: list[Any] = []

    def receive(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: too many"}}
        return httpx2.Response(400, json=error)

    http = httpx2.Client(transport=httpx2.MockTransport(receive))
    client = llmsaver.Anthropic(api_key="k", http_client=http, saver=saver, max_retries=0)
    with pytest.raises(anthropic.BadRequestError, match="too many"):
        client.messages.create(model="claude-sonnet-5", max_tokens=9, system=SYSTEM, messages=ASK)
    assert len(seen) == 1


def test_a_fault_in_here_costs_nobody_the_call(saver: Saver, provider: FakeProvider, caplog: Any) -> None:
    layer = next(layer for layer in saver.layers if isinstance(layer, PromptCache))
    layer._planner = None  # type: ignore[assignment]  # whatever may be wrong in it
    _, claude = clients(saver, provider)
    for _ in range(2):
        claude.messages.create(model="claude-sonnet-5", max_tokens=9, system=SYSTEM, messages=ASK)
    assert sent(provider)["system"] == SYSTEM
    assert caplog.text.count("the prompt cache is left alone") == 1


def reading(read: int, written: int) -> Response:
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": read}
    return Response.of(
        {
            "type": "message",
            "content": [],
            "stop_reason": "end_turn",
            "usage": {**usage, "cache_creation_input_tokens": written},
        }
    )


def test_what_was_read_and_written_is_told_in_money() -> None:
    layer = PromptCache(ttl="5m")
    layer.use_books(PriceBook())
    answers = [(0, 3000), (3000, 0), (0, 0)]
    entries: list[Entry] = []

    async def below(_: Request) -> Response:
        from llmsaver.wire import DIALECTS

        read, written = answers[len(entries)]
        made = reading(read, written)
        content = await made.read()
        return Response(200, made.headers, content=content, meter=DIALECTS["messages"].meter(streamed=False))

    for _ in answers:
        entry = Entry("messages", "claude-sonnet-5")
        body = {"model": "claude-sonnet-5", "system": SYSTEM, "messages": ASK, "max_tokens": 9}
        request = Request("messages", body, "https://api.anthropic.com/v1/messages", entry, SyncRuntime())
        drive(layer(request, below))
        entries.append(entry)
    last = [entry.layers[-1] for entry in entries]
    assert [act.action for act in last] == ["wrote", "read", "missed"]
    base = PriceBook().rates("https://api.anthropic.com", "claude-sonnet-5")
    assert base is not None
    price = base.kinds["input"]
    assert last[0].figures == {
        "read_tokens": 0,
        "written_tokens": 3000,
        "saved_nano": -(base.kinds["cache_write_5m"] - price) * 3000 // 1_000_000,
    }
    assert last[1].figures is not None
    assert last[1].figures["saved_nano"] == (price - base.kinds["cache_read"]) * 3000 // 1_000_000


def test_the_keeping_time_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="'auto', '5m' or '1h', not '2h'"):
        PromptCache(ttl="2h")  # type: ignore[arg-type]  # what a caller may write
