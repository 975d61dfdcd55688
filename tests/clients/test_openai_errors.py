"""What goes wrong at OpenAI goes wrong in the same way through ours."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import openai
import pytest

import llmsaver
from llmsaver import Saver
from llmsaver.testing import FakeProvider, Fault

MODEL = "gpt-4o-mini"
HI: list[Any] = [{"role": "user", "content": "hi"}]
STATUSES = [400, 401, 403, 404, 409, 422, 429, 500, 503]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", STATUSES)
def test_status_errors_are_the_sdks(status: int, stream: bool) -> None:
    def run(kind: Any, **options: Any) -> Any:
        fake = FakeProvider(answer=Fault(status))
        client = kind(api_key="k", max_retries=0, http_client=httpx2.Client(transport=fake.transport()), **options)
        with pytest.raises(openai.APIStatusError) as raised:
            client.chat.completions.create(model=MODEL, messages=HI, stream=stream)
        error = raised.value
        return type(error), str(error), error.body, error.status_code, type(error.__cause__), error.response.text

    assert run(llmsaver.OpenAI, saver=Saver()) == run(openai.OpenAI)
    assert run(llmsaver.OpenAI, saver=Saver(), annotate=True) == run(openai.OpenAI)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("drop", ["connect", "connect timeout", "read timeout", "disconnect", "reset"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_transport_errors_are_the_sdks(drop: Any, stream: bool, asynchronous: bool) -> None:
    def sync(kind: Any, **options: Any) -> Any:
        fake = FakeProvider(answer=Fault(drop=drop))
        client = kind(api_key="k", max_retries=1, http_client=httpx2.Client(transport=fake.transport()), **options)
        with pytest.raises(openai.APIConnectionError) as raised:
            client.chat.completions.create(model=MODEL, messages=HI, stream=stream)
        return chain(raised.value), fake.calls

    async def run_async(kind: Any, **options: Any) -> Any:
        fake = FakeProvider(answer=Fault(drop=drop))
        http = httpx2.AsyncClient(transport=fake.async_transport())
        async with kind(api_key="k", max_retries=1, http_client=http, **options) as client:
            with pytest.raises(openai.APIConnectionError) as raised:
                await client.chat.completions.create(model=MODEL, messages=HI, stream=stream)
        return chain(raised.value), fake.calls

    def chain(error: BaseException | None) -> list[Any]:
        found = []
        while error is not None:
            found.append((type(error), str(error)))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return found

    saver = Saver()
    if asynchronous:
        ours = asyncio.run(run_async(llmsaver.AsyncOpenAI, saver=saver))
        assert ours == asyncio.run(run_async(openai.AsyncOpenAI))
    else:
        assert sync(llmsaver.OpenAI, saver=saver) == sync(openai.OpenAI)
        assert saver.last is not None
        assert [attempt.error for attempt in saver.last.attempts] == [ours_name(drop)] * 2
        assert saver.last.complete is False


def ours_name(drop: str) -> str:
    return {
        "connect": "ConnectError",
        "connect timeout": "ConnectTimeout",
        "read timeout": "ReadTimeout",
        "disconnect": "RemoteProtocolError",
        "reset": "ReadError",
    }[drop]


def test_timeouts_reach_the_transport() -> None:
    seen = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.extensions["timeout"]["read"])
        raise httpx2.ReadTimeout("too long", request=request)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = llmsaver.OpenAI(api_key="k", saver=Saver(), timeout=7, max_retries=0, http_client=http)
    for asked in (client, client.with_options(timeout=3)):
        with pytest.raises(openai.APITimeoutError):
            asked.chat.completions.create(model=MODEL, messages=HI)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=MODEL, messages=HI, timeout=1)
    assert seen == [7, 3, 1]
