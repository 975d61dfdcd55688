"""One object with the surfaces of both SDKs; keys are asked for when they are needed, and models go where they live."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import llmsaver
from llmsaver import AsyncClient, Client, ConfigurationError, Saver
from llmsaver.local.endpoint import Endpoint, Share
from llmsaver.saver import default_saver
from llmsaver.testing import FakeProvider

HI: list[Any] = [{"role": "user", "content": "hi"}]
CLAUDE: Any = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": HI}
GPT: Any = {"model": "gpt-4o-mini", "messages": HI}


def client_of(fake: FakeProvider, **options: Any) -> Client:
    """Make a facade with both keys over one fake."""
    http = httpx2.Client(transport=fake.transport())
    given: Any = {"saver": Saver(), "api_key": "k", "http_client": http, **options}
    return Client(**given, anthropic={"api_key": "a", "http_client": http, "max_retries": 0}, max_retries=0)


def test_surfaces_and_dialects() -> None:
    fake = FakeProvider(answer="hello")
    with client_of(fake) as client:
        chat: Any = client.chat.completions.create(**GPT)
        message: Any = client.messages.create(**CLAUDE)
        response: Any = client.responses.create(model="gpt-4o-mini", input="hi")
        client.embeddings.create(model="text-embedding-3-small", input="hi")
        assert [request.endpoint for request in fake.requests] == ["chat", "messages", "responses", "embeddings"]
        for answer in (chat, message, response):
            assert answer.llmsaver["entry"], "annotation is on here"
        assert isinstance(client.openai, llmsaver.OpenAI)
        assert isinstance(client.anthropic, llmsaver.Anthropic)
        for name in ("files", "batches", "beta", "models", "moderations", "images", "api_key", "base_url"):
            assert getattr(client, name) is not None
        assert client.messages.batches is not None
        assert client.openai is client.openai
    assert client.openai.is_closed()
    assert client.anthropic.is_closed()
    assert repr(client) == "Client(mode='safe')"
    with pytest.raises(AttributeError):
        _ = client.nonsense
    with pytest.raises(AttributeError):
        _ = client._private


async def test_the_same_asynchronously() -> None:
    fake = FakeProvider(answer="hello")
    http = httpx2.AsyncClient(transport=fake.async_transport())
    async with AsyncClient(
        saver=Saver(), api_key="k", http_client=http, anthropic={"api_key": "a", "http_client": http}
    ) as client:
        chat: Any = await client.chat.completions.create(**GPT)
        message: Any = await client.messages.create(**CLAUDE)
        async with client.messages.stream(**CLAUDE) as stream:
            assert "".join([text async for text in stream.text_stream]) == "hello"
        assert chat.llmsaver["model"] == GPT["model"]
        assert message.llmsaver["model"] == CLAUDE["model"]
        assert isinstance(client.openai, llmsaver.AsyncOpenAI)
        assert isinstance(client.anthropic, llmsaver.AsyncAnthropic)
    assert http.is_closed


def test_nothing_is_imported_or_asked_for_before_it_is_used() -> None:
    code = """
import sys, llmsaver
client = llmsaver.Client()
assert not {"openai", "anthropic", "httpx2", "httpx"} & set(sys.modules), "an SDK was imported"
client.anthropic
assert "openai" not in sys.modules, "the other SDK was imported"
client.close()
client.chat
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr


class Servers:
    def __init__(self, url: str) -> None:
        self.url = url

    def endpoint(self, name: str) -> Endpoint:  # noqa: ARG002 - the real one's signature
        return Endpoint(self.url, "local-key", "tiny")

    def use(self, endpoint: Endpoint) -> Servers:  # noqa: ARG002 - the real one's signature
        return self

    def end(self) -> Share:
        return Share(0.0)

    def close(self) -> None:
        pass


def refuse(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError(f"{request.url} was asked, with {request.headers}")


def keyless(saver: Saver, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Client:
    monkeypatch.setenv("HOME", "/nonexistent")
    http = httpx2.Client(transport=httpx2.MockTransport(refuse))
    return Client(
        saver=saver, http_client=http, max_retries=3, anthropic={"http_client": http, "max_retries": 3}, **options
    )


def test_without_a_key_local_models_work(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, saver = FakeProvider(answer="hello"), Saver()
    with fake.serve() as url:
        saver._local = Servers(url)  # type: ignore[assignment]  # a stand-in
        client = keyless(saver, monkeypatch)
        answer = client.chat.completions.create(**{**GPT, "model": "local/claude-like"})
        assert answer.choices[0].message.content == "hello"
        assert client.messages.create(**{**CLAUDE, "model": "local/gpt-like"}).content[0].text == "hello"
        assert client.responses.create(model="local/tiny", input="hi").output_text == "hello"
    for request in fake.requests:
        assert request.headers["authorization"] == "Bearer local-key"
        assert "no-key" not in str(request.headers)


def test_without_a_key_a_vendors_call_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, family, call in (
        ("OPENAI_API_KEY", openai.OpenAIError, lambda c: c.chat.completions.create(**GPT)),
        ("OPENAI_API_KEY", openai.OpenAIError, lambda c: c.responses.create(model="m", input="hi")),
        ("OPENAI_API_KEY", openai.OpenAIError, lambda c: list(c.models.list())),
        ("OPENAI_API_KEY", openai.OpenAIError, lambda c: c.files.create(file=b"x", purpose="batch")),
        ("OPENAI_API_KEY", openai.OpenAIError, lambda c: c.post("/responses", body=[1], cast_to=object)),
        ("ANTHROPIC_API_KEY", anthropic.AnthropicError, lambda c: c.messages.create(**CLAUDE)),
        ("ANTHROPIC_API_KEY", anthropic.AnthropicError, lambda c: list(c.anthropic.models.list())),
    ):
        client: Any = keyless(Saver(), monkeypatch)
        sdk_error: Any = family
        with pytest.raises(ConfigurationError, match=variable) as raised:
            call(client)
        assert isinstance(raised.value, sdk_error)
        assert "local/" in str(raised.value)
    for mode in ("off", "safe"):
        with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
            keyless(Saver(mode=mode), monkeypatch).chat.completions.create(**GPT)


def test_a_key_given_later_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeProvider(answer="hello")
    http = httpx2.Client(transport=fake.transport())
    client = keyless(Saver(), monkeypatch)
    with pytest.raises(ConfigurationError):
        client.chat.completions.create(**GPT)
    with pytest.raises(ConfigurationError):
        client.messages.create(**CLAUDE)
    keyed = client.with_options(api_key="sk-given", http_client=http, anthropic={"api_key": "a", "http_client": http})
    keyed.chat.completions.create(**GPT)
    keyed.messages.create(**CLAUDE)
    assert fake.requests[0].headers["authorization"] == "Bearer sk-given"
    assert fake.requests[1].headers["authorization"] == "Bearer a"


def test_a_wrong_argument_is_not_taken_for_a_missing_key() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        _ = Client(api_key="k", nonsense=1).chat


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-env")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-env-too")
    client = Client(saver=Saver())
    assert client.openai.api_key == "from-env"
    assert client.anthropic.api_key == "from-env-too"


@pytest.mark.parametrize("given", [{"auth_token": "t"}, {"default_headers": {"Authorization": "Bearer x"}}])
def test_other_ways_to_sign_in_at_anthropic(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    fake = FakeProvider(answer="hello")
    http = httpx2.Client(transport=fake.transport())
    Client(saver=Saver(), anthropic={"http_client": http, **given}).messages.create(**CLAUDE)
    assert fake.requests[0].headers["authorization"].startswith("Bearer ")


def test_a_model_of_the_other_vendor_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeProvider()
    client = client_of(fake)
    calls: list[Any] = [
        lambda: client.chat.completions.create(**{**GPT, "model": CLAUDE["model"]}),
        lambda: client.responses.create(model=CLAUDE["model"], input="hi"),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=r"is an Anthropic model: call client\.messages") as raised:
            call()
        assert isinstance(raised.value, openai.OpenAIError)
    for model in ("gpt-4o-mini", "o3-mini", "chatgpt-4o-latest"):
        with pytest.raises(ConfigurationError, match=r"is an OpenAI model: call client\.chat") as raised:
            client.messages.create(**{**CLAUDE, "model": model})
        assert isinstance(raised.value, anthropic.AnthropicError)
    assert fake.calls == 0
    # A gateway serves what it likes, however it was named.
    client_of(fake, base_url="https://gateway.example/v1").chat.completions.create(**{**GPT, "model": "claude-x"})
    client.with_options(base_url="https://gateway.example/v1").chat.completions.create(**{**GPT, "model": "claude-x"})
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    client_of(fake).chat.completions.create(**{**GPT, "model": "claude-x"})
    assert fake.calls == 3


def test_copies() -> None:
    fake, saver, other = FakeProvider(), Saver(), Saver()
    client = client_of(fake, saver=saver, default_headers={"x-one": "1"})
    early = client.with_options(default_headers={"x-two": "2"})
    copied = client.copy(timeout=3, anthropic={"timeout": 4})
    assert (copied.openai.timeout, copied.anthropic.timeout) == (3, 4)
    assert copied.openai._client is client.openai._client
    assert copied.saver is saver
    early.chat.completions.create(**GPT)
    sent = fake.requests[-1].headers
    assert (sent["x-one"], sent["x-two"]) == ("1", "2"), "as the SDK's copy merges them"
    changed = client.copy(saver=other, annotate=False)
    assert not hasattr(changed.chat.completions.create(**GPT), "llmsaver")
    assert other.last is not None
    assert saver.last is not other.last
    assert hasattr(client.chat.completions.create(**GPT), "llmsaver")
    untouched = Client(api_key="k").copy()
    assert untouched._made == {}


def test_the_default_saver_is_shared() -> None:
    assert Client().saver is Client().saver is default_saver()
    assert AsyncClient().saver is default_saver()
    assert Client(saver=(saver := Saver(annotate=False)), api_key="k").openai.saver is saver


def test_the_base_has_no_classes_of_its_own() -> None:
    from llmsaver.clients.facade import _Facade

    with pytest.raises(NotImplementedError):
        _Facade()._class_of("openai")
