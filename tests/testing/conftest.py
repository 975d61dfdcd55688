"""Real SDK clients on top of a fake, closed after each test."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any, TypeAlias

import httpx2
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from llmsaver.testing import FakeProvider

Wire: TypeAlias = Callable[..., httpx2.Response]


@pytest.fixture
def openai_of() -> Iterator[Callable[[FakeProvider], OpenAI]]:
    with ExitStack() as stack:

        def make(fake: FakeProvider, **options: Any) -> OpenAI:
            http = httpx2.Client(transport=fake.transport())
            return stack.enter_context(OpenAI(api_key="sk-test", http_client=http, **{"max_retries": 0, **options}))

        yield make


@pytest.fixture
def anthropic_of() -> Iterator[Callable[[FakeProvider], Anthropic]]:
    with ExitStack() as stack:

        def make(fake: FakeProvider, **options: Any) -> Anthropic:
            http = httpx2.Client(transport=fake.transport())
            return stack.enter_context(Anthropic(api_key="sk-test", http_client=http, **{"max_retries": 0, **options}))

        yield make


@pytest.fixture
async def async_openai_of() -> AsyncIterator[Callable[[FakeProvider], AsyncOpenAI]]:
    async with AsyncExitStack() as stack:
        made: list[AsyncOpenAI] = []

        def make(fake: FakeProvider) -> AsyncOpenAI:
            http = httpx2.AsyncClient(transport=fake.async_transport())
            made.append(AsyncOpenAI(api_key="sk-test", http_client=http, max_retries=0))
            stack.push_async_callback(made[-1].close)
            return made[-1]

        yield make


@pytest.fixture
async def async_anthropic_of() -> AsyncIterator[Callable[[FakeProvider], AsyncAnthropic]]:
    async with AsyncExitStack() as stack:

        def make(fake: FakeProvider) -> AsyncAnthropic:
            http = httpx2.AsyncClient(transport=fake.async_transport())
            client = AsyncAnthropic(api_key="sk-test", http_client=http, max_retries=0)
            stack.push_async_callback(client.close)
            return client

        yield make


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Send a body without an SDK: `wire(fake, "chat", {...})`."""
    paths = {
        "chat": "/v1/chat/completions",
        "responses": "/v1/responses",
        "messages": "/v1/messages",
        "count_tokens": "/v1/messages/count_tokens",
        "embeddings": "/v1/embeddings",
    }
    openai = {"authorization": "Bearer sk-test"}
    anthropic = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}
    with ExitStack() as stack:

        def send(
            fake: FakeProvider, endpoint: str, body: object, headers: dict[str, str] | None = None
        ) -> httpx2.Response:
            client = stack.enter_context(httpx2.Client(transport=fake.transport()))
            if headers is None:
                headers = anthropic if endpoint in ("messages", "count_tokens") else openai
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return client.post("http://fake" + paths[endpoint], content=content, headers=headers)

        yield send


@pytest.fixture
def sse() -> Callable[[bytes], list[tuple[str | None, Any]]]:
    """Read SSE the slow and obvious way: (event name, parsed data), for bodies without comments."""

    def read(body: bytes) -> list[tuple[str | None, Any]]:
        found: list[tuple[str | None, Any]] = []
        for block in body.decode().strip().split("\n\n"):
            fields = dict(row.split(": ", 1) for row in block.split("\n"))
            data = fields["data"]
            found.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
        return found

    return read
