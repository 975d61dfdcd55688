"""The hop to a local server: nothing of the caller's account travels there, and no proxy sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest

from llmsaver import LocalModelError, MissingExtra, Request, Response
from llmsaver.local.endpoint import Endpoint
from llmsaver.local.models import LocalModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver import CallNext, Saver
    from llmsaver.testing import FakeProvider

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
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
GONE = Endpoint("http://127.0.0.1:9", "local-key", "tiny")
LOCAL: Any = {"create": {"model": "local/tiny"}}


def vendor(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError(f"{request.url} was asked")


WIRE = httpx2.MockTransport(vendor)


@pytest.fixture
def endpoint(llama: Any) -> Endpoint:
    return Endpoint(llama.url, "local-key", "tiny", LocalModel("tiny", hourly_usd="3.6"))


@pytest.fixture
def served(endpoint: Endpoint, tier_of: Callable[..., Saver]) -> Any:
    return tier_of(endpoint)


def test_a_local_model_answers_and_learns_nothing(
    way: Any, caller: Any, llama: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    caller.saver = served
    told = caller.ask(
        way,
        WIRE,
        create={"model": "local/tiny-7b"},
        api_key="secret-key",
        default_headers=SECRET_HEADERS,
        default_query={"key": "secret-query"},
    )
    assert told.text == "one two three"
    assert served._local.asked == ["tiny-7b"]
    [(path, body, headers)] = llama.asked
    assert path == "/v1/chat/completions"
    assert body["model"] == "tiny"
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert "secret" not in str(llama.asked)
    assert headers["authorization"] == "Bearer local-key"
    assert told.headers["x-llmsaver-tier"] == "local"
    assert told.headers["x-llmsaver-model"] == "local/tiny-7b"
    entry = served.entry(told.headers["x-llmsaver-entry"])
    assert (entry.usage.input_tokens, entry.usage.output_tokens, entry.usage.cache_read_tokens) == (9, 3, 4)
    assert entry.upstream == "127.0.0.1"
    assert entry.complete


def test_a_call_is_under_way_until_its_answer_has_ended(way: Any, caller: Any, served: Any) -> None:
    caller.saver = served
    told = caller.ask(way, WIRE, **LOCAL)
    [attempt] = served.entry(told.headers["x-llmsaver-entry"]).attempts
    assert (attempt.local.name, attempt.share.seconds, attempt.status) == ("tiny", 0.25, 200)
    assert attempt.cost.nano_usd == 250_000
    assert (served._local.running, served._local.ended) == (0, 1)


@pytest.mark.parametrize("runner", ["vllm", "attach"])
def test_other_servers_get_the_body_as_it_is(
    way: Any, caller: Any, fake: FakeProvider, tier_of: Any, runner: str
) -> None:
    with fake.serve() as url:
        caller.saver = tier_of(Endpoint(url, "local-key", "tiny", runner=runner))
        told = caller.ask(way, WIRE, **LOCAL)
    assert told.text == "one two three four five six"
    [sent] = fake.requests
    assert sent.path == PATHS[way.dialect]
    options = {"stream_options": {"include_usage": True}} if way.dialect == "chat" else {}
    stream = {"stream": True, **options} if way.stream else {}
    assert sent.json == {**way.arguments(), "model": "tiny", **stream}


def test_errors_of_other_servers_are_their_own(sync_way: Any, caller: Any, llama: Any, said: Any, tier_of: Any) -> None:
    words = "maximum context length is 2048 tokens. However, your prompt contains 3031 input tokens"
    llama.said = [said(status=400, body={"error": {"message": words, "type": "BadRequestError", "code": 400}})]
    caller.saver = tier_of(Endpoint(llama.url, "local-key", "tiny", runner="vllm"))
    family: Any = anthropic.BadRequestError if sync_way.dialect == "messages" else openai.BadRequestError
    with pytest.raises(family, match="your prompt contains 3031 input tokens"):
        caller.ask(sync_way, WIRE, **LOCAL)
    assert caller.saver.last.attempts[-1].overflow == (3031, 2048)


def test_an_attached_server_without_the_dialect_says_so(way: Any, caller: Any, tier_of: Any) -> None:
    class Found:
        chat = responses = messages = False

    caller.saver = tier_of(Endpoint("http://127.0.0.1:9", "k", "m", runner="attach", abilities=Found()))
    with pytest.raises(LocalModelError, match=f"does not speak the {way.dialect} dialect"):
        caller.ask(way, WIRE, **LOCAL)


def test_custom_authentication_stays_at_home(way: Any, caller: Any, llama: Any, served: Any) -> None:
    """A client's own `auth=` signs for the vendor, and must not sign for anybody else."""
    kind = httpx2.AsyncClient if way.asynchronous else httpx2.Client
    caller.saver = served
    http = kind(transport=WIRE, auth=("user", "secret"))
    caller.ask(way, http, **LOCAL)
    assert llama.asked[0][2]["authorization"] == "Bearer local-key"


def test_a_model_that_is_not_there(way: Any, caller: Any, llama: Any, served: Any) -> None:
    caller.saver = served
    with pytest.raises(LocalModelError, match="there is no such model") as raised:
        caller.ask(way, WIRE, create={"model": "local/missing"}, max_retries=3)
    family: Any = anthropic.AnthropicError if way.dialect == "messages" else openai.OpenAIError
    assert isinstance(raised.value, family)
    assert served._local.asked == ["missing"]
    assert llama.asked == []


def test_a_server_that_is_gone_is_looked_for_again(way: Any, caller: Any, endpoint: Endpoint, tier_of: Any) -> None:
    caller.saver = tier_of(GONE, endpoint)
    told = caller.ask(way, WIRE, **LOCAL, max_retries=0)
    assert told.text == "one two three"
    local = caller.saver._local
    assert (local.asked, local.failures, local.running, local.ended) == (["tiny", "tiny"], [GONE], 0, 2)
    first, second = caller.saver.entry(told.headers["x-llmsaver-entry"]).attempts
    assert (first.status, first.error, second.status) == (None, "ConnectError", 200)


def test_a_server_that_stays_away_is_the_sdks_connection_error(way: Any, caller: Any, tier_of: Any) -> None:
    caller.saver = tier_of(GONE)
    error = anthropic.APIConnectionError if way.dialect == "messages" else openai.APIConnectionError
    with pytest.raises(error) as raised:
        caller.ask(way, WIRE, **LOCAL, max_retries=0)
    assert isinstance(raised.value.__cause__, httpx2.ConnectError)
    assert caller.saver._local.asked == ["tiny", "tiny"]


def test_a_server_that_dies_before_it_answers_is_asked_once_more(
    way: Any, caller: Any, llama: Any, served: Any, said: Any
) -> None:
    caller.saver = served
    llama.said = [said(dies=True)]
    assert caller.ask(way, WIRE, **LOCAL, max_retries=0).text == "one two three"
    assert len(llama.asked) == 2


def test_a_server_that_dies_in_the_middle(stream_way: Any, caller: Any, llama: Any, served: Any, said: Any) -> None:
    caller.saver = served
    llama.said = [said(pieces=["one ", OSError()])]
    # What each SDK makes of a connection that breaks in the middle.
    messages = stream_way.dialect == "messages"
    error: Any = httpx2.RemoteProtocolError if messages else openai.APIConnectionError
    with pytest.raises(error):
        caller.ask(stream_way, WIRE, **LOCAL, max_retries=0)
    assert len(llama.asked) == 1
    assert len(served._local.failures) == 1
    assert served._local.running == 0
    if not stream_way.asynchronous:
        assert not served.last.complete
        assert "RemoteProtocolError" in served.last.error


def test_a_slow_server_is_not_asked_twice(sync_way: Any, caller: Any, tier_of: Any, way_of: Any) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        caller.saver = tier_of(Endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}", "k", "tiny"))
        error = anthropic.APITimeoutError if sync_way.dialect == "messages" else openai.APITimeoutError
        with pytest.raises(error):
            caller.ask(sync_way, WIRE, **LOCAL, max_retries=0, timeout=0.05)
    assert way_of is not None
    assert caller.saver._local.asked == ["tiny"]
    assert caller.saver._local.running == 0


async def test_a_cancelled_call_is_no_longer_under_way(caller: Any, tier_of: Any, way_of: Any) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        saver = caller.saver = tier_of(Endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}", "k", "tiny"))
        client = caller.client(way_of("chat", True, False), WIRE)
        call = asyncio.create_task(client.chat.completions.create(model="local/tiny", messages=[]))
        async with asyncio.timeout(60):
            while not saver._local.running:  # noqa: ASYNC110 - nobody here could set an event
                await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert saver._local.running == 0
    await client.close()


def test_a_layer_may_send_a_call_to_a_local_model(way: Any, caller: Any, llama: Any, served: Any, tier_of: Any) -> None:
    async def routes(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(model="local/tiny"))

    saver = tier_of(served._local.endpoints[0], stack=[routes])
    caller.saver = saver
    told = caller.ask(way, WIRE, api_key="secret-key")
    assert told.text == "one two three"
    assert "secret" not in str(llama.asked)
    assert told.headers["x-llmsaver-tier"] == "local"


def test_each_loop_has_its_own_connections(caller: Any, way_of: Any, llama: Any, served: Any) -> None:
    way = way_of("chat", True, False)
    caller.saver = served

    async def twice() -> None:
        client = caller.client(way, WIRE)
        for _ in range(2):
            await client.chat.completions.create(**{**way.arguments(), "model": "local/tiny"})

    for _ in range(2):
        asyncio.run(twice())
    assert len(llama.asked) == 4


def test_to_another_machine_connections_are_kept_and_certificates_checked(
    caller: Any, way_of: Any, tier_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, Any]] = []

    answer = httpx2.MockTransport(lambda _: httpx2.Response(200, json=way_of("chat", False, False).answer("hello")))
    fresh = httpx2.Client

    def client(**settings: Any) -> httpx2.Client:
        made.append(settings)
        return fresh(transport=answer)

    caller.saver = tier_of(Endpoint("https://gpu-host.example:8080", "k", "m", runner="attach"))
    with caller.client(way_of("chat", False, False), WIRE) as theirs:
        monkeypatch.setattr(httpx2, "Client", client)
        for _ in range(2):
            theirs.chat.completions.create(model="local/tiny", messages=[])
    assert made == [{"trust_env": False, "timeout": None}]


@pytest.mark.parametrize("dialect", ["messages", "responses"])
def test_tokens_of_a_prompt_are_counted_there_and_not_booked(
    caller: Any, way_of: Any, llama: Any, served: Any, dialect: str
) -> None:
    caller.saver = served
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    hi: Any = [{"role": "user", "content": "hi"}]

    async def asked() -> Any:
        client = caller.client(way_of(dialect, True, False), WIRE)
        if dialect == "messages":
            return await client.messages.count_tokens(model="local/tiny", messages=hi, tools=tools)
        return await client.responses.input_tokens.count(model="local/tiny", input="hi")

    assert asyncio.run(asked()).input_tokens == 37
    with caller.client(way_of(dialect, False, False), WIRE) as client:
        if dialect == "messages":
            counted = client.messages.count_tokens(model="local/tiny", messages=hi, tools=tools)
        else:
            counted = client.responses.input_tokens.count(model="local/tiny", input="hi")
    assert counted.input_tokens == 37
    assert served.last is None
    path, body, _ = llama.asked[-1]
    assert path == "/v1/chat/completions/input_tokens"
    assert ("look" in body["messages"][0]["content"]) is (dialect == "messages")


def test_counting_where_no_server_is(caller: Any, way_of: Any, tier_of: Any) -> None:
    caller.saver = tier_of(GONE)
    with (
        caller.client(way_of("messages", False, False), WIRE, max_retries=0) as client,
        pytest.raises(anthropic.APIConnectionError),
    ):
        client.messages.count_tokens(model="local/tiny", messages=[])
    assert caller.saver._local.failures == [GONE]


def test_a_vendors_counting_is_the_vendors(caller: Any, way_of: Any, served: Any) -> None:
    caller.saver = served
    counted = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"input_tokens": 5}))
    with caller.client(way_of("messages", False, False), counted) as client:
        assert client.messages.count_tokens(model="claude-haiku-4-5", messages=[]).input_tokens == 5


def test_an_adapter_is_asked_for_by_its_number(
    way: Any, caller: Any, llama: Any, endpoint: Endpoint, tier_of: Any
) -> None:
    from dataclasses import replace

    caller.saver = tier_of(replace(endpoint, lora=1, loras=3))
    caller.ask(way, WIRE, create={"model": "local/tiny:triage"})
    assert caller.saver._local.asked == ["tiny:triage"]
    assert llama.bodies[0]["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}, {"id": 2, "scale": 0.0}]


def test_tools_need_jsonschema(caller: Any, way_of: Any, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jsonschema", None)
    caller.saver = served
    tools = [{"type": "function", "function": {"name": "never seen before"}}]
    with (
        caller.client(way_of("chat", False, False), WIRE) as client,
        pytest.raises(MissingExtra, match=r"llmsaver\[local\]"),
    ):
        client.chat.completions.create(model="local/tiny", messages=[], tools=tools)
