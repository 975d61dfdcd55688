"""The seam under a user's own HTTP client: theirs still sends, and nothing of theirs is changed."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import httpx2
import openai
import pytest

import llmsaver
from llmsaver import Saver
from llmsaver.clients.http import default_module, derive, seam_of

if TYPE_CHECKING:
    from llmsaver.testing import FakeProvider

MODEL = "gpt-4o-mini"
HI: list[Any] = [{"role": "user", "content": "hi"}]


class Own(httpx2.Client):
    """A client with a mind of its own."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.sends = 0

    def send(self, request: httpx2.Request, **arguments: Any) -> httpx2.Response:
        self.sends += 1
        request.headers["x-own"] = "yes"
        response = super().send(request, **arguments)
        response.headers["x-own-too"] = "yes"
        return response


def test_a_users_client_still_sends(fake: FakeProvider) -> None:
    hooked = []
    hooks: Any = {
        "request": [lambda request: hooked.append(request.url.path)],
        "response": [lambda response: hooked.append(response.status_code)],
    }
    http = Own(transport=fake.transport(), event_hooks=hooks, headers={"x-default": "1"}, params={"p": "1"})
    before = dict(vars(http))
    client = llmsaver.OpenAI(api_key="k", saver=Saver(), http_client=http)
    answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=HI)
    list(client.chat.completions.create(model=MODEL, messages=HI, stream=True))

    assert http.sends == 2
    assert answer.headers["x-own-too"] == "yes"
    assert answer.headers["x-llmsaver-tier"] == "api"
    sent = fake.requests[0]
    assert (sent.headers["x-own"], sent.headers["x-default"]) == ("yes", "1")
    assert sent.url.endswith("?p=1")
    assert hooked == ["/v1/chat/completions", 200] * 2
    assert type(http) is Own
    assert type(client._client) is Own
    assert client._client is http
    moving = {"sends", "_state"}  # what a client's own use changes
    assert {k: v for k, v in vars(http).items() if k not in moving} == {
        k: v for k, v in before.items() if k not in moving
    }


async def test_a_users_async_client_still_sends(fake: FakeProvider) -> None:
    sends = []

    class OwnAsync(httpx2.AsyncClient):
        async def send(self, request: httpx2.Request, **arguments: Any) -> httpx2.Response:
            sends.append(request.url.path)
            return await super().send(request, **arguments)

    async with OwnAsync(transport=fake.async_transport()) as http:
        client = llmsaver.AsyncAnthropic(api_key="k", saver=Saver(), http_client=http)
        await client.messages.create(model="claude-haiku-4-5", max_tokens=5, messages=HI)
        assert client._client is http
        assert type(http) is OwnAsync
    assert sends == ["/v1/messages"]


def test_a_users_client_outlives_ours(fake: FakeProvider) -> None:
    http = httpx2.Client(transport=fake.transport())
    client = llmsaver.OpenAI(api_key="k", saver=Saver(), http_client=http)
    client.chat.completions.create(model=MODEL, messages=HI)
    del client
    gc.collect()
    assert not http.is_closed
    seamed = derive(http, Saver())
    del seamed
    gc.collect()
    assert not http.is_closed
    http.close()


def test_a_derived_client_is_the_same_client(fake: FakeProvider) -> None:
    http, first, second = Own(transport=fake.transport()), Saver(), Saver()
    seamed = derive(http, first)
    assert isinstance(seamed, Own)
    assert type(seamed).__name__ == "Own"
    assert seamed.timeout is http.timeout
    assert seam_of(http) is None
    assert seam_of(seamed).saver is first  # type: ignore[union-attr]  # it has one
    again = derive(seamed, second)
    assert seam_of(again).saver is second  # type: ignore[union-attr]  # it has one
    again.post("https://api.openai.com/v1/chat/completions", json={"model": MODEL, "messages": HI}, headers=AUTH)
    assert second.last is not None
    assert first.last is None, "the stack was passed twice"
    again.close()
    assert http.is_closed
    assert seamed.is_closed


AUTH = {"authorization": "Bearer k"}


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match="expected an httpx or httpx2 client"):
        derive(object(), Saver())


def test_environment_proxies_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for kind, bare in ((llmsaver.OpenAI, openai.OpenAI), (llmsaver.Anthropic, anthropic.Anthropic)):
        ours: Any = kind(api_key="k", saver=Saver(), max_retries=0)
        theirs: Any = bare(api_key="k", max_retries=0)
        mounts, expected = ours._client._mounts, theirs._client._mounts
        assert [str(pattern.pattern) for pattern in mounts] == [str(pattern.pattern) for pattern in expected]
        assert type(ours._client) is type(theirs._client)
        transport = ours._client._transport_for_url(httpx2.URL("https://api.openai.com"))
        assert "Proxy" in type(transport._pool).__name__


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_environment_proxy_is_really_used(
    monkeypatch: pytest.MonkeyPatch, fake: FakeProvider, asynchronous: bool
) -> None:
    async def ask() -> None:
        async with llmsaver.AsyncOpenAI(api_key="k", saver=Saver(), base_url="http://vendor.invalid/v1") as client:
            await client.chat.completions.create(model=MODEL, messages=HI)

    with fake.serve() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        if asynchronous:
            asyncio.run(ask())
        else:
            with llmsaver.OpenAI(api_key="k", saver=Saver(), base_url="http://vendor.invalid/v1") as client:
                client.chat.completions.create(model=MODEL, messages=HI)
    assert fake.requests[0].headers["host"] == "vendor.invalid"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_over_a_real_socket(fake: FakeProvider, kind: str) -> None:
    fake.delivery = type(fake.delivery)(gzip=True)
    saver = Saver()
    with fake.serve() as url:
        for stream in (False, True):
            if kind == "openai":
                with llmsaver.OpenAI(api_key="k", saver=saver, base_url=url + "/v1", annotate=True) as client:
                    got: Any = client.chat.completions.create(model=MODEL, messages=HI, stream=stream)
                    text = (
                        "".join(chunk.choices[0].delta.content or "" for chunk in got)
                        if stream
                        else got.choices[0].message.content
                    )
            else:
                with llmsaver.Anthropic(api_key="k", saver=saver, base_url=url, annotate=True) as claude:
                    said: Any = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": HI}
                    if stream:
                        with claude.messages.stream(**said) as helper:
                            text = "".join(helper.text_stream)
                    else:
                        text = claude.messages.create(**said).content[0].text
            assert text == "one two three four five six"
            assert saver.last is not None
            assert saver.last.complete
    assert fake.billed[0].state == "complete"


def test_connections_go_back_to_the_pool(fake: FakeProvider) -> None:
    """With one connection allowed, a leaked one would make the next call wait for ever."""

    async def drops(request: Any, call_next: Any) -> Any:
        await call_next(request)
        return llmsaver.Response.of({"id": "1", "object": "chat.completion", "choices": [], "created": 1, "model": "m"})

    with fake.serve() as url:
        limits = httpx2.Limits(max_connections=1)
        with httpx2.Client(limits=limits, timeout=httpx2.Timeout(60, pool=30)) as http:
            for saver in (Saver(), Saver(stack=[drops])):
                client = llmsaver.OpenAI(
                    api_key="k", saver=saver, base_url=url + "/v1", http_client=http, max_retries=0
                )
                for _ in range(2):
                    stream = client.chat.completions.create(model=MODEL, messages=HI, stream=True)
                    next(iter(stream), None)
                    stream.close()
                    list(client.chat.completions.create(model=MODEL, messages=HI, stream=True))
                    client.chat.completions.create(model=MODEL, messages=HI)
                    with client.chat.completions.with_streaming_response.create(model=MODEL, messages=HI):
                        pass


def test_the_default_module_is_the_sdks() -> None:
    assert default_module() is httpx2
    assert httpx is not httpx2


class Slotted(httpx2.Client):
    """A client that keeps something outside its `__dict__`, and watches what is set."""

    __slots__ = ("mine", "unset")
    mine: int
    unset: int

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.mine = 5

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_llmsaver"):
            raise AttributeError(name)
        super().__setattr__(name, value)

    def send(self, request: httpx2.Request, **arguments: Any) -> httpx2.Response:
        assert self.mine == 5
        return super().send(request, **arguments)


class Demanding(httpx2.Client):
    """A client that is picky about its subclasses, and about being compared."""

    __hash__ = None  # type: ignore[assignment]  # what somebody may have

    def __init_subclass__(cls, *, needed: int, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)

    def __eq__(self, other: object) -> bool:
        raise AssertionError


@pytest.mark.parametrize("kind", [Slotted, Demanding])
def test_unusual_clients(fake: FakeProvider, kind: Any) -> None:
    saver = Saver()
    client = llmsaver.OpenAI(api_key="k", saver=saver, http_client=kind(transport=fake.transport()), max_retries=0)
    client.chat.completions.create(model=MODEL, messages=HI)
    assert saver.last is not None
