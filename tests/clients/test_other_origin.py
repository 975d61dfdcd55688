"""A request that a layer sends elsewhere: that place's key and dialect go along, and nothing of the caller's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

import llmsaver
from llmsaver import Request, Response, Saver
from llmsaver.clients.detached import Again
from llmsaver.core.origin import Origin
from llmsaver.testing import Answer, FakeProvider, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver import CallNext

HI: list[Any] = [{"role": "user", "content": "hi"}]
CHAT, MESSAGES = "https://other.example/v1/chat/completions", "https://api.anthropic.com/v1/messages"
CALLER = {
    "default_headers": {"X-Team": "blue", "Cookie": "session=1", "api-key": "sk-caller", "X-Stainless-Mine": "1"},
    "organization": "org-caller",
    "project": "proj-caller",
    "default_query": {"secret": "sk-caller"},
}


class Elsewhere:
    """Sends calls to another origin, as they are or in another body."""

    name = "elsewhere"

    def __init__(self, origin: Origin, body: Any = None, **changes: Any) -> None:
        self.origin, self.body, self.changes = origin, body, changes
        self.seen: Request | None = None
        self.answers: list[Response] = []

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        if request.origin is not None or request.model == "stay":
            return await call_next(request)
        body = request.body if self.body is None else {**self.body, "stream": request.stream}
        self.seen = sent = request.replace(
            body=body, url=self.origin.url, dialect=self.origin.dialect, origin=self.origin, **self.changes
        )
        self.answers.append(answer := await call_next(sent))
        return answer


def client_of(transport: Any, *layers: Any, **options: Any) -> llmsaver.OpenAI:
    http = options.pop("http", None) or httpx2.Client(transport=transport)
    given = {"api_key": "sk-caller", "max_retries": 0, **CALLER, **options}
    return llmsaver.OpenAI(saver=Saver(stack=[*layers]), http_client=http, **given)


def test_nothing_of_the_callers_travels_to_another_host() -> None:
    fake = FakeProvider("hello")
    layer = Elsewhere(Origin(CHAT, "chat", "sk-tier"))
    answer = client_of(fake.transport(), layer).chat.completions.create(
        model="gpt-4o-mini", messages=HI, extra_headers={"X-Trace": "t-1"}
    )
    assert answer.choices[0].message.content == "hello"
    (seen,) = fake.requests
    assert seen.url == CHAT
    assert seen.headers["authorization"] == "Bearer sk-tier"
    for name in ("x-team", "cookie", "api-key", "openai-organization", "openai-project", "x-trace", "x-api-key"):
        assert name not in seen.headers
    assert "sk-caller" not in str(seen.headers) + seen.url
    assert seen.headers["host"] == "other.example"
    assert seen.headers["content-type"] == "application/json"
    assert "anthropic-version" not in seen.headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_the_answer_is_read_in_the_dialect_that_is_spoken_there(asynchronous: bool, stream: bool) -> None:
    fake = FakeProvider("one two three")
    body = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": HI}
    layer = Elsewhere(Origin(MESSAGES, "messages", "sk-ant"), body)
    saver = Saver(stack=[_reading, layer], ledger=None)
    wire: Any = fake.async_transport() if asynchronous else fake.transport()
    arguments: Any = {"model": "auto", "messages": HI, "stream": stream}
    if asynchronous:

        async def go() -> None:
            http = httpx2.AsyncClient(transport=wire)
            async with llmsaver.AsyncOpenAI(saver=saver, http_client=http, api_key="k", max_retries=0) as client:
                await client.chat.completions.create(**arguments)

        asyncio.run(go())
    else:
        http = httpx2.Client(transport=wire)
        llmsaver.OpenAI(saver=saver, http_client=http, api_key="k", max_retries=0).chat.completions.create(**arguments)
    (seen,) = fake.requests
    assert (seen.headers["x-api-key"], seen.headers["anthropic-version"]) == ("sk-ant", "2023-06-01")
    assert "authorization" not in seen.headers
    outcome = layer.answers[0].outcome
    assert outcome is not None
    assert outcome.complete
    assert outcome.message is not None
    assert outcome.message["content"][0]["text"] == "one two three"
    assert outcome.usage is not None
    assert outcome.usage.output_tokens == fake.billed[0].output_tokens
    (entry,) = saver.recent(1)
    assert (entry.upstream, entry.model, entry.tier) == ("api.anthropic.com", "claude-haiku-4-5", "api")
    assert not entry.unpriced
    assert entry.cost_nano == fake.billed[0].input_tokens * 1_000 + fake.billed[0].output_tokens * 5_000


async def _reading(request: Request, call_next: CallNext) -> Response:
    """Read what comes back and answer in the caller's dialect."""
    response = await call_next(request)
    await response.read()
    return Response.of(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        }
    )


def test_openai_is_asked_for_the_usage_of_a_stream_and_others_are_not() -> None:
    for url, asked in ((CHAT, False), ("https://api.openai.com/v1/chat/completions", True)):
        fake = FakeProvider("one two")
        client = client_of(
            fake.transport(), Elsewhere(Origin(url, "chat", "sk-tier")), base_url="https://gw.example/v1"
        )
        chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=HI, stream=True))
        assert ("stream_options" in fake.requests[0].json) is asked
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_no_key_is_sent_where_none_is_wanted() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(500)

    client = client_of(httpx2.MockTransport(answer), Elsewhere(Origin("http://127.0.0.1:9/v1/messages", "messages")))
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="m", messages=HI)
    assert not {"authorization", "x-api-key"} & set(seen[0].headers)
    assert str(raised.value.request.url).startswith("https://api.openai.com/")


def test_the_callers_own_authentication_hooks_and_redirects_stay_behind() -> None:
    hooked: list[str] = []
    hosts: list[str] = []

    class Signing(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Any:
            request.headers["x-signed"] = "sk-caller"
            yield request

    def hook(request: httpx2.Request) -> None:
        hooked.append(request.url.host)
        request.headers["authorization"] = "Bearer sk-caller"

    def answer(request: httpx2.Request) -> httpx2.Response:
        hosts.append(request.url.host)
        assert request.url.host != "other.example" or "sk-caller" not in str(request.headers.raw)
        return httpx2.Response(307, headers={"location": "https://third.example/v1/chat/completions"})

    http = httpx2.Client(
        transport=httpx2.MockTransport(answer), auth=Signing(), event_hooks={"request": [hook]}, follow_redirects=True
    )
    client = client_of(None, Elsewhere(Origin(CHAT, "chat", "sk-tier")), http=http)
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model="m", messages=HI)
    assert raised.value.status_code == 307
    assert hosts == ["other.example"]
    assert hooked == []
    with pytest.raises(openai.APIConnectionError):  # too many redirects
        client.chat.completions.create(model="stay", messages=HI)
    assert hooked[0] == "api.openai.com"
    assert not http.is_closed


async def test_hooks_stay_behind_on_a_loop_too() -> None:
    fake = FakeProvider("hello")

    async def hook(_: httpx2.Request) -> None:
        raise AssertionError

    http = httpx2.AsyncClient(transport=fake.async_transport(), event_hooks={"request": [hook]})
    saver = Saver(stack=[Elsewhere(Origin(CHAT, "chat", "sk-tier"))])
    async with llmsaver.AsyncOpenAI(saver=saver, http_client=http, api_key="k", max_retries=0) as client:
        answer = await client.chat.completions.create(model="m", messages=HI)
    assert answer.choices[0].message.content == "hello"


def test_a_missing_key_of_the_callers_host_does_not_matter_elsewhere() -> None:
    fake = FakeProvider("hello")
    saver = Saver(stack=[Elsewhere(Origin(CHAT, "chat", "sk-tier"))])
    client = llmsaver.Client(saver=saver, http_client=httpx2.Client(transport=fake.transport()))
    assert client.chat.completions.create(model="m", messages=HI).choices[0].message.content == "hello"
    with pytest.raises(llmsaver.ConfigurationError, match="api_key"):
        client.chat.completions.create(model="stay", messages=HI)


def test_a_deadline_bounds_what_is_waited_for() -> None:
    fake = FakeProvider("hello", delay=0.2)

    class Hurried:
        name = "hurried"

        def __init__(self, change: Callable[[Request], Request]) -> None:
            self.change = change

        async def __call__(self, request: Request, call_next: CallNext) -> Response:
            return await call_next(self.change(request))

    import time

    for change in (
        lambda request: request.replace(deadline=time.monotonic() + 0.02),
        lambda request: request.replace(
            deadline=time.monotonic() + 0.02, url=CHAT, origin=Origin(CHAT, "chat", "sk-tier")
        ),
    ):
        with pytest.raises(openai.APITimeoutError):
            client_of(fake.transport(), Hurried(change)).chat.completions.create(model="m", messages=HI)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_request_to_another_origin_is_sent_again_there(asynchronous: bool) -> None:
    fake = FakeProvider("one two three")
    body = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": HI}
    layer = Elsewhere(Origin(MESSAGES, "messages", "sk-ant"), body)
    with Saver(stack=[_reading, layer]) as saver:
        if asynchronous:

            async def go() -> None:
                http = httpx2.AsyncClient(transport=fake.async_transport())
                async with llmsaver.AsyncOpenAI(saver=saver, http_client=http, api_key="k", max_retries=0) as client:
                    await client.chat.completions.create(model="auto", messages=HI, stream=True)

            asyncio.run(go())
        else:
            http = httpx2.Client(transport=fake.transport())
            client = llmsaver.OpenAI(saver=saver, http_client=http, api_key="k", max_retries=0)
            client.chat.completions.create(model="auto", messages=HI, stream=True)
        assert layer.seen is not None
        again = layer.seen.again("quality")
        assert isinstance(again, Again)
        fake.script([Answer("four")])
        response = again()
        assert response is not None
        assert fake.requests[1].url == MESSAGES
        assert fake.requests[1].headers["x-api-key"] == "sk-ant"
        assert fake.requests[1].json == body
        entry = saver.recent(1)[0]
        assert (entry.feature, entry.dialect, entry.model_asked) == ("quality", "messages", "claude-haiku-4-5")
        assert entry.cost_nano == fake.billed[1].input_tokens * 1_000 + fake.billed[1].output_tokens * 5_000


def test_a_model_that_is_chosen_for_is_chosen_for_anew() -> None:
    """An audit of a layer above names what the caller named."""
    fake = FakeProvider("one")
    seen: list[Request] = []

    async def above(request: Request, call_next: CallNext) -> Response:
        seen.append(request)
        return await call_next(request)

    async def chooses(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(model="gpt-5-mini") if request.model == "auto" else request)

    with Saver(stack=[above, chooses]) as saver:
        http = httpx2.Client(transport=fake.transport())
        client = llmsaver.OpenAI(saver=saver, http_client=http, api_key="k", max_retries=0)
        client.chat.completions.create(model="auto", messages=HI)
        again = seen[0].again("quality")
        assert again is not None
        assert again() is not None
        assert [request.json["model"] for request in fake.requests] == ["gpt-5-mini"] * 2
        assert (saver.recent(1)[0].model_asked, saver.recent(1)[0].model) == ("auto", "gpt-5-mini")


def test_a_transport_that_fails_there_is_the_sdks_own_error() -> None:
    fake = FakeProvider()
    fake.script([Fault(drop="connect")])
    with pytest.raises(openai.APIConnectionError):
        client_of(fake.transport(), Elsewhere(Origin(CHAT, "chat", "k"))).chat.completions.create(
            model="m", messages=HI
        )
