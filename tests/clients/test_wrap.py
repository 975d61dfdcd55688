"""Ways in for clients that somebody else made."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import openai
import pytest

import llmsaver
from llmsaver import Saver
from llmsaver.clients.http import seam_of
from llmsaver.testing import FakeProvider

HI: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("kind", [openai.OpenAI, anthropic.Anthropic])
def test_wrapping_changes_nothing_of_the_clients(kind: Any) -> None:
    fake, saver = FakeProvider(answer="hello"), Saver()
    original = kind(api_key="k", http_client=httpx2.Client(transport=fake.transport()), max_retries=5, timeout=9)
    before = dict(vars(original))
    wrapped = llmsaver.wrap(original, saver=saver, annotate=True)
    assert vars(original) == before
    assert type(wrapped) is kind
    assert (wrapped.max_retries, wrapped.timeout) == (5, 9)

    def ask(client: Any) -> Any:
        if kind is openai.OpenAI:
            return client.chat.completions.create(model="m", messages=HI)
        return client.messages.create(model="m", max_tokens=5, messages=HI)

    assert not hasattr(ask(original), "llmsaver")
    assert saver.last is None
    assert ask(wrapped).llmsaver["tier"] == "api"
    assert ask(wrapped.with_options(timeout=1)).llmsaver
    again = llmsaver.wrap(wrapped, saver=(other := Saver()))
    ask(again)
    assert other.last is not None
    assert len(fake.requests) == 4


async def test_wrapping_asynchronously() -> None:
    fake, saver = FakeProvider(answer="hello"), Saver()
    async with openai.AsyncOpenAI(
        api_key="k", http_client=httpx2.AsyncClient(transport=fake.async_transport())
    ) as original:
        wrapped = llmsaver.wrap(original, saver=saver)
        stream = await wrapped.chat.completions.create(model="m", messages=HI, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "hello"
    assert saver.last is not None
    assert wrapped.is_closed()


def test_wrapping_one_of_ours_binds_it_anew() -> None:
    fake, first, second = FakeProvider(), Saver(), Saver()
    client = llmsaver.OpenAI(api_key="k", saver=first, http_client=httpx2.Client(transport=fake.transport()))
    wrapped = llmsaver.wrap(client, saver=second)
    assert wrapped.saver is second
    wrapped.chat.completions.create(model="m", messages=HI)
    assert first.last is None
    assert second.last is not None
    assert llmsaver.wrap(client).saver is first


@pytest.mark.parametrize("wrong", [object(), httpx2.Client(), "client", openai, llmsaver.Client()])
def test_what_cannot_be_wrapped(wrong: Any) -> None:
    with pytest.raises(TypeError, match="takes a client of the openai or anthropic SDK, not"):
        llmsaver.wrap(wrong)


def test_an_http_client_for_libraries() -> None:
    fake, saver = FakeProvider(answer="hello"), Saver()
    http = llmsaver.http_client(saver=saver, annotate=True, transport=fake.transport())
    assert isinstance(http, httpx2.Client)
    assert http.timeout == httpx2.Timeout(600, connect=5)
    assert http.follow_redirects
    client = openai.OpenAI(api_key="k", http_client=http)
    answer: Any = client.chat.completions.create(model="m", messages=HI)
    assert answer.llmsaver["entry"] == saver.last.id  # type: ignore[union-attr]  # there was a call
    assert client.with_options(max_retries=1)._client is http
    raw = http.post("https://gateway.example/other", json={"llmsaver": {"feature": "x"}, "a": 1})
    assert raw.status_code == 404
    assert fake.requests[-1].json == {"a": 1}
    http.close()
    assert http.is_closed


async def test_an_async_http_client_for_libraries() -> None:
    fake, saver = FakeProvider(answer="hello"), Saver()
    async with llmsaver.async_http_client(saver=saver, transport=fake.async_transport(), timeout=3) as http:
        assert http.timeout == httpx2.Timeout(3)
        client = anthropic.AsyncAnthropic(api_key="k", http_client=http)
        await client.messages.create(model="m", max_tokens=5, messages=HI)
    assert saver.last is not None
    assert seam_of(http) is not None


def test_errors_in_a_bare_http_client_are_ours() -> None:
    http = llmsaver.http_client(saver=Saver(), transport=FakeProvider().transport())
    with pytest.raises(llmsaver.ConfigurationError, match="unknown option"):
        http.post("https://api.openai.com/v1/responses", json={"llmsaver": {"colour": "red"}})
