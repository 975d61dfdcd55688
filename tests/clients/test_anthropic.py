"""Everything the anthropic SDK does still works through ours: the same bytes leave, the same values come back."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import pytest
from pydantic import BaseModel

import llmsaver
from llmsaver import Request, Response, Saver
from llmsaver.testing import Answer, FakeProvider, Fault, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmsaver import CallNext

HI: Any = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
IMAGE: list[Any] = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}}]
TOOL: Any = {"name": "f", "input_schema": {"type": "object", "properties": {}}, "cache_control": {"type": "ephemeral"}}


class Person(BaseModel):
    name: str


def helped(client: Any) -> Any:
    with client.messages.stream(**HI) as stream:
        return [event.type for event in stream], stream.get_final_message()


def raw(client: Any) -> Any:
    answer = client.messages.with_raw_response.create(**HI)
    return answer.status_code, answer.headers["content-type"], str(answer.http_request.url), answer.parse()


def streaming(client: Any) -> Any:
    with client.messages.with_streaming_response.create(**HI) as answer:
        return answer.status_code, re.sub(r"\d{9,}", "", answer.read().decode())


def batched(client: Any) -> Any:
    batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": HI}])
    client.messages.batches.retrieve(batch.id)
    done = client.messages.batches.retrieve(batch.id)
    return done.processing_status, list(client.messages.batches.results(batch.id))


CALLS: dict[str, Callable[[Any], Any]] = {
    "create": lambda client: client.messages.create(**HI, system="be brief", stop_sequences=["x"]),
    "image": lambda client: client.messages.create(**{**HI, "messages": [{"role": "user", "content": IMAGE}]}),
    "tools": lambda client: client.messages.create(**HI, tools=[TOOL], tool_choice={"type": "any"}),
    "extra": lambda client: client.messages.create(
        **HI, extra_body={"top_k": 3}, extra_headers={"X-Mine": "1"}, extra_query={"q": "1"}, timeout=5
    ),
    "parse": lambda client: client.messages.parse(**HI, output_format=Person).parsed_output,
    "stream": lambda client: list(client.messages.create(**HI, stream=True)),
    "stream helper": helped,
    "beta": lambda client: client.beta.messages.create(**HI, betas=["a-beta"]),
    "raw": raw,
    "streaming response": streaming,
    "count tokens": lambda client: client.messages.count_tokens(model=HI["model"], messages=HI["messages"]),
    "batches": batched,
    "pages": lambda client: [model.id for model in client.models.list()],
}


def dumped(value: Any) -> str:
    def plain(item: Any) -> Any:
        if isinstance(item, BaseModel):
            return item.model_dump(warnings=False)
        return [plain(part) for part in item] if isinstance(item, list | tuple) else item

    return re.sub(r"datetime\.datetime\([^)]*\)+|tzinfo=[^)]*\)+", "NOW", repr(plain(value)))


def sent(fake: FakeProvider) -> list[Any]:
    return [
        (r.method, r.url, {k: v for k, v in r.headers.items() if "idempotency" not in k}, r.body) for r in fake.requests
    ]


@pytest.mark.parametrize("name", CALLS)
def test_the_same_bytes_leave_and_the_same_values_come_back(name: str) -> None:
    def run(kind: Any, **options: Any) -> Any:
        fake = FakeProvider()
        client = kind(api_key="k", http_client=httpx2.Client(transport=fake.transport()), **options)
        return dumped(CALLS[name](client)), sent(fake)

    theirs, bare = run(anthropic.Anthropic)
    ours, through = run(llmsaver.Anthropic, saver=Saver())
    assert through == bare
    assert ours == theirs


@pytest.mark.parametrize("name", ["create", "stream", "stream helper", "parse", "count tokens", "pages"])
async def test_the_same_asynchronously(name: str) -> None:
    async def call(client: Any) -> Any:
        if name == "create":
            return await client.messages.create(**HI, tools=[TOOL])
        if name == "stream":
            return [event async for event in await client.messages.create(**HI, stream=True)]
        if name == "stream helper":
            async with client.messages.stream(**HI) as stream:
                return [text async for text in stream.text_stream], await stream.get_final_message()
        if name == "parse":
            return (await client.messages.parse(**HI, output_format=Person)).parsed_output
        if name == "count tokens":
            return await client.messages.count_tokens(model=HI["model"], messages=HI["messages"])
        return [model.id async for model in client.models.list()]

    async def run(kind: Any, **options: Any) -> Any:
        fake = FakeProvider()
        http = httpx2.AsyncClient(transport=fake.async_transport())
        async with kind(api_key="k", http_client=http, **options) as client:
            return dumped(await call(client)), sent(fake)

    assert await run(llmsaver.AsyncAnthropic, saver=Saver()) == await run(anthropic.AsyncAnthropic)


def test_tool_use_and_thinking_come_back() -> None:
    fake = FakeProvider(answer=Answer(tool_calls=(ToolCall("f", {"x": 1}),), reasoning="hmm"))
    client = llmsaver.Anthropic(
        api_key="k", saver=Saver(), annotate=True, http_client=httpx2.Client(transport=fake.transport())
    )
    with client.messages.stream(**HI, tools=[TOOL]) as stream:
        message: Any = stream.get_final_message()
    assert message.content[-1].input == {"x": 1}
    assert message.llmsaver["tier"] == "api"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault",
    [*map(Fault, (400, 401, 404, 413, 429, 500, 529)), Fault(529, after=2), Fault(drop="connect"), Fault(drop="reset")],
    ids=lambda fault: f"{fault.status or fault.drop} {fault.after or ''}",
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_errors_are_the_sdks(fault: Fault, stream: bool, asynchronous: bool) -> None:
    def chain(error: BaseException | None) -> list[Any]:
        found = []
        while error is not None:
            found.append((type(error), re.sub(r"req_\w+", "", str(error))))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return found

    async def run_async(kind: Any, fake: FakeProvider, **options: Any) -> Any:
        http = httpx2.AsyncClient(transport=fake.async_transport())
        async with kind(api_key="k", max_retries=1, http_client=http, **options) as client:
            got = await client.messages.create(**HI, stream=stream)
            return [event async for event in got] if stream else got

    def run_sync(kind: Any, fake: FakeProvider, **options: Any) -> Any:
        http = httpx2.Client(transport=fake.transport())
        got = kind(api_key="k", max_retries=1, http_client=http, **options).messages.create(**HI, stream=stream)
        return list(got) if stream else got

    def outcome(kind: Any, **options: Any) -> Any:
        fake = FakeProvider(answer=fault)
        try:
            asyncio.run(run_async(kind, fake, **options)) if asynchronous else run_sync(kind, fake, **options)
        except anthropic.AnthropicError as error:
            return chain(error), fake.calls
        return None, fake.calls

    ours, theirs = (
        (llmsaver.AsyncAnthropic, anthropic.AsyncAnthropic)
        if asynchronous
        else (llmsaver.Anthropic, anthropic.Anthropic)
    )
    expected = outcome(theirs)
    for annotate in (False, True):
        assert outcome(ours, saver=Saver(), annotate=annotate) == expected


def test_signing_in_by_profile_or_credentials_still_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The SDK looks these up for its own class only; changing one import must not sign anybody out."""
    monkeypatch.setenv("HOME", str(tmp_path))
    tokens = iter(["one", "two", "three"])
    fake = FakeProvider()

    def credentials(**_: Any) -> Any:
        return anthropic.AccessToken(next(tokens), None) if hasattr(anthropic, "AccessToken") else None

    if credentials() is None:
        pytest.skip("this SDK has no credentials of its own")
    http = httpx2.Client(transport=fake.transport())
    client = llmsaver.Anthropic(credentials=credentials, saver=Saver(), http_client=http)
    client.messages.create(**HI)
    client.with_options(max_retries=1).messages.create(**HI)
    client.copy(base_url="https://api.anthropic.com/").messages.create(**HI)
    assert [r.headers["authorization"] for r in fake.requests] == ["Bearer two"] * 3
    other = client.copy(base_url="https://elsewhere.example")
    other.messages.create(**HI)
    assert fake.requests[-1].headers["authorization"] == "Bearer three", "a token is for the host that gave it out"
    assert client.copy(api_key="k").credentials is None


def test_the_sdks_own_middleware_still_runs() -> None:
    """A middleware of the SDK's sits above ours and sees the answer it would see."""
    fake, saver = FakeProvider(answer="hello"), Saver()
    http = httpx2.Client(transport=fake.transport())
    client = llmsaver.Anthropic(api_key="k", saver=saver, http_client=http)
    if not hasattr(client, "with_middleware"):
        pytest.skip("this SDK has none")
    seen: list[Any] = []

    def middleware(request: Any, call_next: Any) -> Any:
        response = call_next(request)
        seen.append(response.headers["x-llmsaver-tier"])
        return response

    again = client.with_middleware(middleware)
    assert again.saver is saver
    again.messages.create(**HI)
    assert seen == ["api"]


def test_long_waits_are_refused_as_by_the_sdk() -> None:
    client = llmsaver.Anthropic(api_key="k", saver=Saver())
    with pytest.raises(ValueError, match="Streaming is required"):
        client.messages.create(**{**HI, "max_tokens": 1_000_000})


def test_other_endpoints_are_not_seen() -> None:
    seen = []

    async def looks(request: Request, call_next: CallNext) -> Response:
        seen.append(request.dialect)
        return await call_next(request)

    fake = FakeProvider()
    http = httpx2.Client(transport=fake.transport())
    client = llmsaver.Anthropic(api_key="k", saver=Saver(stack=[looks]), http_client=http)
    client.messages.count_tokens(model=HI["model"], messages=HI["messages"], extra_body={"llmsaver": {"feature": "x"}})
    batched(client)
    assert seen == []
    assert "llmsaver" not in fake.requests[0].json
