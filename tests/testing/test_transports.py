"""The fake as a transport of either HTTP library: chunking, waiting, and clients that leave."""

import gc
import random
import time
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from llmsaver.testing import Answer, Delivery, FakeProvider, Fault

ASK: Any = [{"role": "user", "content": "hi"}]
TEXT = "Grüße, 日本 🎉 and a [DONE] that is only text"
CHUNKINGS: list[Any] = ["event", "byte", "one", 5, random.Random(7)]  # noqa: S311 - where a body is cut is no secret


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("chunking", CHUNKINGS, ids=str)
def test_the_sdks_read_any_chunking(
    openai_of: Callable[..., OpenAI],
    anthropic_of: Callable[..., anthropic.Anthropic],
    chunking: Any,
    newline: Any,
    gzip: bool,
) -> None:
    fake = FakeProvider(TEXT, chunking=chunking, newline=newline, comments=True, gzip=gzip)
    client, other = openai_of(fake), anthropic_of(fake)
    assert client.chat.completions.create(model="m", messages=ASK).choices[0].message.content == TEXT
    chunks = client.chat.completions.create(model="m", messages=ASK, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    with client.responses.stream(model="m", input="x") as responses:
        assert responses.get_final_response().output_text == TEXT
    with other.messages.stream(model="m", max_tokens=99, messages=ASK) as messages:
        assert messages.get_final_text() == TEXT
    assert {bill.state for bill in fake.billed} == {"complete"}
    assert all(request.headers["accept-encoding"] for request in fake.requests)


@pytest.mark.parametrize("module", ["httpx2", "httpx"])
def test_both_modules(module: str) -> None:
    http: Any = {"httpx2": httpx2, "httpx": httpx}[module]
    fake = FakeProvider("hello", gzip=True)
    fake.script(["hello", Fault(drop="reset")])
    transport = fake.transport(module)
    assert isinstance(transport, http.BaseTransport)
    headers = {"authorization": "Bearer k", "accept-encoding": "gzip"}
    with http.Client(transport=transport, headers=headers) as client:
        response = client.post("http://x/chat/completions", json={"model": "m", "messages": ASK})
        assert response.headers["content-encoding"] == "gzip"
        assert response.json()["choices"][0]["message"]["content"] == "hello"
        with pytest.raises(http.ReadError):
            client.post("http://x/chat/completions", json={"model": "m", "messages": ASK})
        client.headers["accept-encoding"] = "identity"
        plain = client.post("http://x/chat/completions", json={"model": "m", "messages": ASK})
        assert "content-encoding" not in plain.headers
        assert int(plain.headers["content-length"]) == len(plain.content)


@pytest.mark.parametrize("module", ["httpx2", "httpx"])
async def test_both_modules_async(module: str) -> None:
    http: Any = {"httpx2": httpx2, "httpx": httpx}[module]
    fake = FakeProvider("hello")
    transport = fake.async_transport(module)
    assert isinstance(transport, http.AsyncBaseTransport)
    async with http.AsyncClient(transport=transport, headers={"authorization": "Bearer k"}) as client:
        response = await client.post("http://x/chat/completions", json={"model": "m", "messages": ASK})
        assert response.json()["choices"][0]["message"]["content"] == "hello"
        fake.script([Fault(drop="disconnect"), Fault(drop="disconnect", after=9)])
        for _ in range(2):
            with pytest.raises(http.RemoteProtocolError):
                await client.post("http://x/chat/completions", json={"model": "m", "messages": ASK})


def test_an_abandoned_stream_is_aborted_and_charged_for_what_left(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider(Answer("one two three four", reasoning="hm hm"))
    stream = openai_of(fake).chat.completions.create(model="m", messages=ASK, stream=True)
    next(stream)
    next(stream)
    bill = fake.billed[0]
    assert (bill.state, bill.usage) != ("aborted", None)
    stream.close()
    assert (bill.state, bill.visible, bill.delivered, bill.output_tokens) == ("aborted", 4, 1, 3)
    assert bill.input_tokens > 0


def test_a_stream_dropped_without_closing_is_aborted_when_collected() -> None:
    fake = FakeProvider("one two three four")
    request = httpx2.Request("POST", "http://x/responses", json={"model": "m", "input": "x", "stream": True})
    request.headers["api-key"] = "k"
    body = iter(fake.transport().handle_request(request).stream)
    next(body)
    states: list[str] = [fake.billed[0].state]
    del body
    gc.collect()
    states.append(fake.billed[0].state)
    assert states == ["open", "aborted"]


async def test_an_abandoned_async_stream(async_openai_of: Callable[..., AsyncOpenAI]) -> None:
    fake = FakeProvider("one two three four")
    stream = await async_openai_of(fake).chat.completions.create(model="m", messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content == " two":
            break
    await stream.close()
    assert (fake.billed[0].state, fake.billed[0].output_tokens) == ("aborted", 2)


def test_a_wait_longer_than_the_read_timeout(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider(delay=600)
    client = openai_of(fake, timeout=0.02)
    begun = time.monotonic()
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="m", messages=ASK)
    fake.delivery = Delivery(pause=600)
    with pytest.raises(Exception, match="timed out"):
        list(client.chat.completions.create(model="m", messages=ASK, stream=True))
    assert time.monotonic() - begun < 60
    assert [bill.state for bill in fake.billed] == ["aborted", "aborted"]


async def test_an_async_wait(async_openai_of: Callable[..., AsyncOpenAI]) -> None:
    fake = FakeProvider("one two", delay=0.03, pause=0.01)
    client = async_openai_of(fake)
    begun = time.monotonic()
    stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
    assert [chunk async for chunk in stream]
    assert time.monotonic() - begun >= 0.07
    fake.script([Answer("x", delivery=Delivery(delay=30))])
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.01).chat.completions.create(model="m", messages=ASK)


def test_a_client_without_timeouts_waits() -> None:
    fake = FakeProvider(Answer("x", delivery=Delivery(delay=0.01)))
    with httpx2.Client(transport=fake.transport(), timeout=None) as client:
        response = client.post("http://x/responses", json={"model": "m", "input": "x"}, headers={"api-key": "k"})
    assert response.status_code == 200


def test_a_huge_answer(openai_of: Callable[..., OpenAI]) -> None:
    text = "word " * 4_000_000
    client = openai_of(FakeProvider(Answer(text, usage="missing"), chunking=65536))
    done = client.chat.completions.create(model="m", messages=ASK)
    assert done.choices[0].message.content == text
    assert done.usage is None
