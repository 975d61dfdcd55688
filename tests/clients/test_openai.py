"""Everything the openai SDK does still works through ours: the same bytes leave, the same values come back."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import openai
import pytest
from pydantic import BaseModel

import llmsaver
from llmsaver import Saver
from llmsaver.testing import Answer, FakeProvider, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "gpt-4o-mini"
HI: list[Any] = [{"role": "user", "content": "hi"}]
PIXEL = "data:image/png;base64," + base64.b64encode(b"png").decode()
IMAGE: list[Any] = [
    {"role": "developer", "content": "be brief"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
    },
]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}, "strict": True}}
]


class Person(BaseModel):
    name: str
    age: int


def streamed(client: Any) -> Any:
    return list(
        client.chat.completions.create(model=MODEL, messages=HI, stream=True, stream_options={"include_usage": True})
    )


def helped(client: Any) -> Any:
    with client.chat.completions.stream(model=MODEL, messages=HI, response_format=Person) as stream:
        kinds = [event.type for event in stream]
        return kinds, stream.get_final_completion()


def responses_helped(client: Any) -> Any:
    with client.responses.stream(model=MODEL, input="hi") as stream:
        kinds = [event.type for event in stream]
        return kinds, stream.get_final_response()


def raw(client: Any) -> Any:
    answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=HI)
    return answer.status_code, answer.headers["content-type"], answer.http_request.url, answer.parse()


def raw_streamed(client: Any) -> Any:
    answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=HI, stream=True)
    return answer.status_code, list(answer.parse())


def streaming(client: Any) -> Any:
    with client.chat.completions.with_streaming_response.create(model=MODEL, messages=HI) as answer:
        return answer.status_code, list(answer.iter_lines()), answer.http_response.is_closed


def uploaded(client: Any) -> Any:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": MODEL, "messages": HI}}
    file = client.files.create(file=("batch.jsonl", io.BytesIO(json.dumps(line).encode())), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
    )
    client.batches.retrieve(batch.id)
    done = client.batches.retrieve(batch.id)
    return file.filename, done.status, client.files.content(done.output_file_id).read()


def paged(client: Any) -> Any:
    return [model.id for model in client.models.list()], client.models.retrieve(MODEL).id


CALLS: dict[str, Callable[[Any], Any]] = {
    "create": lambda client: client.chat.completions.create(model=MODEL, messages=HI, temperature=0.5, seed=1),
    "image": lambda client: client.chat.completions.create(model=MODEL, messages=IMAGE),
    "tools": lambda client: client.chat.completions.create(
        model=MODEL, messages=HI, tools=TOOLS, tool_choice="required", parallel_tool_calls=False
    ),
    "n and logprobs": lambda client: client.chat.completions.create(
        model=MODEL, messages=HI, n=3, logprobs=True, top_logprobs=2
    ),
    "extra": lambda client: client.chat.completions.create(
        model=MODEL,
        messages=HI,
        extra_body={"user": "me"},
        extra_headers={"X-Mine": "1"},
        extra_query={"q": "1"},
        timeout=5,
    ),
    "parse": lambda client: client.chat.completions.parse(model=MODEL, messages=HI, response_format=Person),
    "stream": streamed,
    "stream helper": helped,
    "raw": raw,
    "raw stream": raw_streamed,
    "streaming response": streaming,
    "responses": lambda client: client.responses.create(model=MODEL, input=[{"role": "user", "content": "hi"}]),
    "responses stream": lambda client: list(client.responses.create(model=MODEL, input="hi", stream=True)),
    "responses stream helper": responses_helped,
    "responses parse": lambda client: client.responses.parse(model=MODEL, input="hi", text_format=Person),
    "embeddings": lambda client: client.embeddings.create(model="text-embedding-3-small", input=["a", "b"]),
    "embedding floats": lambda client: client.embeddings.create(
        model="text-embedding-3-small", input="a", encoding_format="float", dimensions=8
    ),
    "files and batches": uploaded,
    "pages": paged,
    "post": lambda client: client.post("/chat/completions", body={"model": MODEL, "messages": HI}, cast_to=object),
}


def recording(fake: FakeProvider, sent: list[Any], module: Any = httpx2) -> Any:
    """Return an HTTP client that notes what leaves, raw."""

    class Noting(module.Client):  # type: ignore[misc]  # of either module
        def send(self, request: Any, **arguments: Any) -> Any:
            body = b"".join(request.stream) if not hasattr(request, "_content") else request.content
            kept = [(name, value) for name, value in request.headers.raw if name.lower() not in _VARIES]
            boundary = request.headers.get("content-type", "").partition("boundary=")[2].encode()
            body = body.replace(boundary, b"") if boundary else body
            sent.append((request.method, str(request.url), kept, body))
            return super().send(request, **arguments)

    return Noting(transport=fake.transport(module.__name__))


# A key made anew for every call, and a boundary made anew for every upload.
_VARIES = {b"idempotency-key", b"x-stainless-idempotency-key", b"content-type"}


def dumped(value: Any) -> str:
    """Return what came back as text, less what the fake or the SDK makes up anew each time."""

    def plain(item: Any) -> Any:
        if isinstance(item, BaseModel):
            return item.model_dump(warnings=False)  # .parse() puts its own type where the SDK declares another
        if isinstance(item, list | tuple):
            return [plain(part) for part in item]
        return str(item) if isinstance(item, httpx2.URL) else item

    return re.sub(r"\b1[78]\d{8}(\.\d+)?\b", "NOW", repr(plain(value)))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("base_url", ["https://gateway.example/v1", None], ids=["other host", "vendor's"])
def test_the_same_bytes_leave_and_the_same_values_come_back(name: str, base_url: str | None) -> None:
    def run(kind: Any, **options: Any) -> tuple[str, list[Any]]:
        sent: list[Any] = []
        client = kind(api_key="sk-test", http_client=recording(FakeProvider(), sent), base_url=base_url, **options)
        return dumped(CALLS[name](client)), sent

    theirs, bare = run(openai.OpenAI)
    ours, through = run(llmsaver.OpenAI, saver=Saver())
    if base_url is None and name in {"stream helper", "raw stream"}:
        for request in through:  # the vendor's host is asked for usage; see test_upstream
            assert b'"stream_options":{"include_usage":true}' in request[3]
        assert "CompletionUsage" not in ours
    else:
        assert through == bare
        assert ours == theirs


ASYNC_CALLS: dict[str, Callable[[Any], Any]] = {
    "create": lambda client: client.chat.completions.create(model=MODEL, messages=IMAGE, tools=TOOLS, n=2),
    "parse": lambda client: client.chat.completions.parse(model=MODEL, messages=HI, response_format=Person),
    "responses": lambda client: client.responses.create(model=MODEL, input="hi"),
    "responses parse": lambda client: client.responses.parse(model=MODEL, input="hi", text_format=Person),
    "embeddings": lambda client: client.embeddings.create(model="text-embedding-3-small", input="a"),
    "models": lambda client: client.models.retrieve(MODEL),
    "upload": lambda client: client.files.create(file=b"{}", purpose="batch"),
}


@pytest.mark.parametrize("name", [*ASYNC_CALLS, "stream", "stream helper", "streaming response", "pages"])
async def test_the_same_asynchronously(name: str) -> None:
    async def call(client: Any) -> Any:
        if name in ASYNC_CALLS:
            value = await ASYNC_CALLS[name](client)
            return value.filename if name == "upload" else value
        if name == "stream":
            stream = await client.chat.completions.create(model=MODEL, messages=HI, stream=True)
            return [chunk async for chunk in stream]
        if name == "stream helper":
            async with client.chat.completions.stream(model=MODEL, messages=HI) as helper:
                return [event.type async for event in helper], await helper.get_final_completion()
        if name == "streaming response":
            async with client.chat.completions.with_streaming_response.create(model=MODEL, messages=HI) as answer:
                return [line async for line in answer.iter_lines()]
        return [model.id async for model in client.models.list()]

    async def run(kind: Any, **options: Any) -> tuple[str, list[Any]]:
        fake = FakeProvider()
        http = httpx2.AsyncClient(transport=fake.async_transport())
        base_url = "https://gateway.example/v1"
        async with kind(api_key="sk-test", base_url=base_url, http_client=http, **options) as client:
            value = dumped(await call(client))
        sent = [
            (r.method, r.url, {**r.headers, "content-type": ""}, r.body if name != "upload" else b"")
            for r in fake.requests
        ]
        return value, sent

    theirs, bare = await run(openai.AsyncOpenAI)
    ours, through = await run(llmsaver.AsyncOpenAI, saver=Saver())
    for request in (*bare, *through):
        request[2].pop("content-length", None) if name == "upload" else None
    assert through == bare
    assert ours == theirs


def test_tool_calls_come_back() -> None:
    fake = FakeProvider(answer=Answer(tool_calls=(ToolCall("f", {"x": 1}),)))
    client = llmsaver.OpenAI(api_key="k", saver=Saver(), http_client=httpx2.Client(transport=fake.transport()))
    message = client.chat.completions.create(model=MODEL, messages=HI, tools=TOOLS).choices[0].message
    assert message.tool_calls is not None
    assert message.tool_calls[0].type == "function"
    assert json.loads(message.tool_calls[0].function.arguments) == {"x": 1}


@pytest.mark.parametrize("module", [httpx, httpx2])
def test_a_legacy_http_client_is_one_still(module: Any) -> None:
    fake, sent = FakeProvider(answer="hello"), list[Any]()
    http = recording(fake, sent, module)
    with llmsaver.OpenAI(api_key="k", saver=Saver(), http_client=http) as client:
        assert client._client is http
        answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=HI)
        assert answer.parse().choices[0].message.content == "hello"
        assert answer.headers["x-llmsaver-entry"]
        stream = client.chat.completions.create(model=MODEL, messages=HI, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "hello"
        assert len(sent) == 2
    assert http.is_closed  # the SDK closes what it was given, as without us


def test_azure() -> None:
    fake = FakeProvider(answer="hello")

    def run(kind: Any, **options: Any) -> Any:
        http = httpx2.Client(transport=fake.transport())
        client = kind(
            api_key="az",
            azure_endpoint="https://me.openai.azure.com",
            api_version="2024-10-21",
            http_client=http,
            **options,
        )
        client.chat.completions.create(model="my-deployment", messages=HI)
        list(client.with_options(timeout=3).chat.completions.create(model="my-deployment", messages=HI, stream=True))
        assert len(http.event_hooks["request"]) == 1  # the SDK's own guard against redirects, seen by whoever sends
        return [(r.url, dict(r.headers), r.json) for r in fake.requests[-2:]]

    saver = Saver()
    bare, ours = run(openai.AzureOpenAI), run(llmsaver.AzureOpenAI, saver=saver)
    assert ours[0] == bare[0]
    assert ours[1][0] == bare[1][0]
    assert ours[1][2] == {**bare[1][2], "stream_options": {"include_usage": True}}
    assert saver.last is not None
    assert saver.last.usage is not None
    assert saver.last.upstream == "me.openai.azure.com"


async def test_azure_asynchronously() -> None:
    fake, saver = FakeProvider(answer="hello"), Saver()
    http = httpx2.AsyncClient(transport=fake.async_transport())
    async with llmsaver.AsyncAzureOpenAI(
        api_key="az",
        azure_endpoint="https://me.openai.azure.com",
        api_version="2024-10-21",
        http_client=http,
        saver=saver,
    ) as client:
        answer = await client.chat.completions.create(model="my-deployment", messages=HI)
        assert answer.choices[0].message.content == "hello"
        assert client.with_options(max_retries=1).saver is saver
    assert fake.requests[-1].headers["api-key"] == "az"
