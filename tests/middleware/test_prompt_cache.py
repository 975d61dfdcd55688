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
from llmsaver.cache.policy import policy_of
from llmsaver.core import entry as entry_module
from llmsaver.core.entry import Attempt, Entry, dollars
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import AsyncRuntime, SyncRuntime, drive
from llmsaver.middleware.prompt_cache import PromptCache, _billed_less
from llmsaver.pricing import Cost, PriceBook
from llmsaver.pricing.values import Line
from llmsaver.prompt.planner import Plan, Planner
from llmsaver.testing import Answer, FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


def hour(minute: int) -> str:
    return f"You are an archivist.\nIt is 10:0{minute}.\n{SYSTEM}"


def test_what_changes_is_moved_where_it_is_asked_for(provider: FakeProvider, tmp_path: Path) -> None:
    with Saver(stack=[PromptCache(move_volatile=True)], ledger=str(tmp_path / "l.db")) as saver:
        gpt, claude = clients(saver, provider)
        for minute in range(3):
            claude.messages.create(model="claude-sonnet-5", max_tokens=9, system=hour(minute), messages=ASK)
        body = sent(provider)
        assert "moved" in acts(saver)
        system = f"You are an archivist.\n{SYSTEM}"
        assert body["system"] == [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
        question, moved = body["messages"][-1]["content"]
        assert (question["text"], question["cache_control"]) == ("What is new?", {"type": "ephemeral"})
        assert moved["text"] == "[From the instructions, as of this request:]\nIt is 10:02."
        assert "cache_control" not in body
        for minute in range(2):
            messages: Any = [{"role": "system", "content": hour(minute)}, *ASK]
            gpt.chat.completions.create(model="gpt-6-luna", messages=messages)
        first, _, last = sent(provider)["messages"]
        assert first["content"][0]["text"] == system
        assert last == {"role": "system", "content": "[From the instructions, as of this request:]\nIt is 10:01."}
        assert saver.last is not None
        assert [act.why for act in saver.last.layers if act.action == "moved"] == [
            "of the system prompt to the end: time, line 2"
        ]


@pytest.mark.parametrize("ends", ["ok", "refused"])
def test_what_may_not_be_moved_goes_as_it_was(tmp_path: Path, ends: str) -> None:
    bodies: list[Any] = []

    def receive(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        fine = ends == "ok" and "From the instructions" not in request.content.decode()
        error = {"message": "no system message may come last", "code": None}
        message = {"role": "assistant", "content": "ok"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        told = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-6-luna", "choices": [choice]}
        return httpx2.Response(200, json=told) if fine else httpx2.Response(400, json={"error": error})

    http = httpx2.Client(transport=httpx2.MockTransport(receive))
    with Saver(stack=[PromptCache(move_volatile=True)], ledger=str(tmp_path / "l.db")) as saver:
        client = llmsaver.OpenAI(api_key="k", http_client=http, saver=saver, max_retries=0)
        for minute in range(3):
            messages: Any = [{"role": "system", "content": hour(minute)}, *ASK]
            if ends == "ok":
                client.chat.completions.create(model="gpt-6-luna", messages=messages)
            else:
                with pytest.raises(openai.BadRequestError, match="come last"):
                    client.chat.completions.create(model="gpt-6-luna", messages=messages)
    lengths = [len(body["messages"]) for body in bodies]
    # A refusal of the request as it was says nothing of the moved one, which is tried again then.
    assert lengths == ([2, 3, 2, 2] if ends == "ok" else [2, 3, 2, 3, 2])
    assert "It is 10:02." in str(bodies[-1]["messages"][0])


def test_tools_in_another_order_are_told(saver: Saver, provider: FakeProvider) -> None:
    _, claude = clients(saver, provider)
    for tools in ([TOOL, {**TOOL, "name": "read"}], [{**TOOL, "name": "read"}, TOOL]):
        claude.messages.create(model="claude-sonnet-5", max_tokens=9, system=SYSTEM, messages=ASK, tools=tools)
    assert [tool["name"] for tool in sent(provider)["tools"]] == ["read", "look"]
    assert saver.last is not None
    (act,) = [act for act in saver.last.layers if act.action == "broken" and "tools come" in act.why]
    assert act.why == "tools come in another order than before"


def test_what_one_process_did_teaches_the_next(tmp_path: Path, provider: FakeProvider) -> None:
    place = str(tmp_path / "ledger.db")

    def ask(saver: Saver, number: int) -> Any:
        clients(saver, provider)[1].messages.create(
            model="claude-sonnet-5", max_tokens=9, system=SYSTEM, messages=[{"role": "user", "content": f"{number}?"}]
        )
        assert saver.last is not None
        return saver.last

    with Saver(stack=[PromptCache()], ledger=place) as first:
        told = [ask(first, number).prefix for number in range(3)]
        assert first.ledger is not None
        with first.ledger.reader() as reader:
            rows = reader.calls()
    assert [row["prefix"] for row in reversed(rows)] == told
    assert SYSTEM[:20] not in str(told)
    assert len({prefix[2] for prefix in told}) == 1
    entry_module._ids.draw()  # as another process does
    with Saver(stack=[PromptCache()], ledger=place) as second:
        planner = next(layer for layer in second.layers if isinstance(layer, PromptCache))._planner
        assert ask(second, 9).prefix[2] == told[0][2]
        assert second.background.drain(60.0)
        assert planner._journal is None  # learned
        chances = planner._reuse.likely("new", "static default claude-sonnet-5", 0.2, rows[0]["started_at"] + 1)
    assert chances[0] > 0.5


async def test_an_event_loop_reads_no_file_for_it(tmp_path: Path, provider: FakeProvider) -> None:
    http = httpx2.AsyncClient(transport=provider.async_transport())
    with Saver(stack=[PromptCache()], ledger=str(tmp_path / "ledger.db")) as saver:
        client = llmsaver.AsyncAnthropic(api_key="k", http_client=http, saver=saver, max_retries=0)
        for _ in range(2):
            await client.messages.create(model="claude-sonnet-5", max_tokens=9, system=SYSTEM, messages=ASK)
        assert saver.last is not None
        assert saver.last.prefix is not None
        assert saver.background.drain(60.0)
    await http.aclose()


def test_what_a_call_saved_is_in_the_answer_the_ledger_and_the_report(tmp_path: Path) -> None:
    usage = {"input_tokens": 100, "cache_read_input_tokens": 2000, "cache_creation_input_tokens": 0, "output_tokens": 5}
    provider = FakeProvider(Answer("Fine.", usage=usage))
    with Saver(stack=[PromptCache()], ledger=str(tmp_path / "l.db"), annotate=True) as saver:
        _, claude = clients(saver, provider)
        answer: Any = claude.messages.create(model="claude-sonnet-5", max_tokens=9, system=SYSTEM, messages=ASK)
        (shown,) = answer.llmsaver["shaped"]
        assert shown["name"] == "prompt cache"
        assert saver.ledger is not None
        with saver.ledger.reader() as reader:
            (line,) = reader.layers()
            (row,) = reader.calls()
    assert row["shaped"]["prompt cache"][2] == line.saved_nano > 0
    assert shown["saved_usd"] == dollars(line.saved_nano)


def test_what_was_saved_is_by_the_answers_own_bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Planner, "plan", lambda *_, **__: Plan("1h", "5m", (), 0, "x"))
    parts = {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 10_000}
    usage: dict[str, Any] = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 500}
    usage |= {"cache_creation_input_tokens": 12_000, "cache_creation": parts}
    with Saver(stack=[PromptCache()], ledger=str(tmp_path / "l.db")) as saver:
        _, claude = clients(saver, FakeProvider(Answer("Fine.", usage=usage)))
        claude.messages.create(model="claude-sonnet-5", max_tokens=9, system=SYSTEM, messages=ASK)
        assert saver.last is not None
        figures = saver.last.layers[-1].figures
    rates = PriceBook().rates("https://api.anthropic.com", "claude-sonnet-5")
    assert rates is not None
    of = rates.kinds
    dearer = (of["cache_write_5m"] - of["input"]) * 2000 + (of["cache_write_1h"] - of["input"]) * 10_000
    assert figures is not None
    assert figures["saved_nano"] == ((of["input"] - of["cache_read"]) * 500 - dearer) // 1_000_000


@pytest.mark.parametrize(
    ("lines", "saved"),
    [
        ([("input", 1, 100, ""), ("cache_read", 5, 10, ""), ("cache_read", 2, 30, "")], 5 * 90 + 2 * 70),
        ([("input", 1, 100, ""), ("cache_read", 5, 10, ""), ("input", 1, 40, "b"), ("cache_read", 5, 4, "b")], 630),
        ([("input", 1, 100, ""), ("cache_read", 5, 10, "b")], None),
        ([("input", 0, 100, ""), ("cache_read", 5, 10, "")], None),
        ([("input", 9, 100, ""), ("output", 5, 10, "")], None),
        (None, None),
    ],
)
def test_a_bill_of_several_lines(lines: Any, saved: int | None) -> None:
    entry = Entry("messages", "claude-sonnet-5")
    assert _billed_less(entry) is None
    made = () if lines is None else tuple(Line(kind, units, rate, 0, model) for kind, units, rate, model in lines)
    entry.attempts.append(Attempt("api.anthropic.com", "claude-sonnet-5"))
    entry.attempts[-1].cost = None if lines is None else Cost(0, 0, 0, lines=made)
    assert _billed_less(entry) == saved


def test_what_moves_is_told_to_the_caches_above() -> None:
    assert policy_of([PromptCache()]) == ""
    assert policy_of([PromptCache(move_volatile=True)]) != ""


class Counting(AsyncRuntime):
    """Counts what is done in other threads."""

    offloaded = 0

    async def offload(self, fn: Callable[..., Any], *args: Any) -> Any:
        self.offloaded += 1
        return fn(*args)


@pytest.mark.parametrize(("moves", "length", "offloaded"), [(True, 400, 2), (False, 400, 1), (True, 200, 0)])
async def test_long_instructions_do_not_stop_an_event_loop(moves: bool, length: int, offloaded: int) -> None:
    layer, runtime = PromptCache(move_volatile=moves), Counting()
    layer.use_books(PriceBook())

    async def below(_: Request) -> Response:
        return reading(0, 0)

    body = {"model": "claude-sonnet-5", "system": "You answer what is asked.\n" * length, "messages": ASK}
    for host in ("api.anthropic.com", "gateway.example", "api.anthropic.com"):
        entry = Entry("messages", "claude-sonnet-5")
        await layer(Request("messages", body, f"https://{host}/v1/messages", entry, runtime), below)
    assert runtime.offloaded == offloaded
