"""The hop to a local server: nothing of the caller's account travels there, and no proxy sees it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest

from llmsaver import LocalModelError, Request, Response, Saver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmsaver import CallNext
    from llmsaver.testing import FakeProvider


@dataclass
class Endpoint:
    base_url: str
    api_key: str = "local-key"
    model: str = "tiny"


class Servers:
    """Stands where the local models' servers are started."""

    def __init__(self, url: str) -> None:
        self.url, self.asked, self.closed = url, list[str](), False

    def endpoint(self, name: str) -> Endpoint:
        self.asked.append(name)
        if name == "missing":
            raise LocalModelError("local/missing: there is no such model")
        return Endpoint(self.url)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def served(fake: FakeProvider) -> Iterator[Any]:
    with fake.serve() as url:
        saver = Saver()
        saver._local = Servers(url)  # type: ignore[assignment]  # a stand-in
        yield saver


SECRET_HEADERS = {
    "authorization": "Bearer secret-a",
    "api-key": "secret-b",
    "x-api-key": "secret-c",
    "cookie": "secret-d",
    "x-portkey-api-key": "secret-e",
    "Ocp-Apim-Subscription-Key": "secret-f",
    "proxy-authorization": "secret-g",
    "OpenAI-Organization": "secret-h",
    "x-anything": "secret-i",
}


def vendor(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError(f"{request.url} was asked")


def test_a_local_model_answers_and_learns_nothing(
    way: Any, caller: Any, fake: FakeProvider, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    caller.saver = served
    told = caller.ask(
        way,
        httpx2.MockTransport(vendor),
        create={"model": "local/tiny-7b"},
        api_key="secret-key",
        default_headers=SECRET_HEADERS,
        default_query={"key": "secret-query"},
    )
    assert told.text == "one two three four five six"
    assert served._local.asked == ["tiny-7b"]
    sent = fake.requests[0]
    assert sent.json["model"] == "tiny"
    assert "secret" not in str(sent.headers) + sent.url
    assert sent.headers["authorization"] == "Bearer local-key"
    assert sent.path == {"chat": "/v1/chat/completions", "responses": "/v1/responses"}.get(way.dialect, "/v1/messages")
    assert told.headers["x-llmsaver-tier"] == "local"
    assert told.headers["x-llmsaver-model"] == "local/tiny-7b"
    entry = served.entry(told.headers["x-llmsaver-entry"])
    assert entry.usage is not None
    assert entry.usage.output_tokens == fake.billed[0].output_tokens
    assert entry.upstream == "127.0.0.1"


def test_custom_authentication_stays_at_home(way: Any, caller: Any, fake: FakeProvider, served: Any) -> None:
    """A client's own `auth=` signs for the vendor, and must not sign for anybody else."""
    kind = httpx2.AsyncClient if way.asynchronous else httpx2.Client
    caller.saver = served
    http = kind(transport=httpx2.MockTransport(vendor), auth=("user", "secret"))
    caller.ask(way, http, create={"model": "local/tiny"})
    assert fake.requests[0].headers["authorization"] == "Bearer local-key"


def test_a_model_that_is_not_there(way: Any, caller: Any, fake: FakeProvider, served: Any) -> None:
    caller.saver = served
    with pytest.raises(LocalModelError, match="there is no such model") as raised:
        caller.ask(way, httpx2.MockTransport(vendor), create={"model": "local/missing"}, max_retries=3)
    family: Any = anthropic.AnthropicError if way.dialect == "messages" else openai.OpenAIError
    assert isinstance(raised.value, family)
    assert served._local.asked == ["missing"]
    assert fake.calls == 0


def test_a_server_that_is_gone_is_asked_for_again(way: Any, caller: Any) -> None:
    caller.saver = Saver()
    caller.saver._local = Servers("http://127.0.0.1:9")
    error = anthropic.APIConnectionError if way.dialect == "messages" else openai.APIConnectionError
    with pytest.raises(error) as raised:
        caller.ask(way, httpx2.MockTransport(vendor), create={"model": "local/tiny"}, max_retries=1)
    assert isinstance(raised.value.__cause__, httpx2.ConnectError)
    assert caller.saver._local.asked == ["tiny", "tiny"]


def test_a_layer_may_send_a_call_to_a_local_model(way: Any, caller: Any, fake: FakeProvider, served: Any) -> None:
    async def routes(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(model="local/tiny"))

    saver = Saver(stack=[routes])
    saver._local = served._local
    caller.saver = saver
    told = caller.ask(way, httpx2.MockTransport(vendor), api_key="secret-key")
    assert told.text == "one two three four five six"
    assert "secret" not in str(fake.requests[0].headers)
    assert told.headers["x-llmsaver-tier"] == "local"


def test_each_loop_has_its_own_connections(caller: Any, way_of: Any, fake: FakeProvider, served: Any) -> None:
    way = way_of("chat", True, False)
    caller.saver = served

    async def twice() -> None:
        client = caller.client(way, httpx2.MockTransport(vendor))
        for _ in range(2):
            await client.chat.completions.create(**{**way.arguments(), "model": "local/tiny"})

    for _ in range(2):
        asyncio.run(twice())
    assert fake.calls == 4
