"""Changing one import is the whole migration: our classes are the SDKs' own, with a Saver beneath."""

from __future__ import annotations

import inspect
import logging
import pickle
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest

import llmsaver
from llmsaver import Request, Response, Saver
from llmsaver.clients.http import derive, seam_of
from llmsaver.saver import default_saver
from llmsaver.testing import FakeProvider

if TYPE_CHECKING:
    from llmsaver import CallNext

HI: list[Any] = [{"role": "user", "content": "hi"}]
AZURE = {"azure_endpoint": "https://me.openai.azure.com", "api_version": "2024-10-21"}
KINDS: list[Any] = [
    pytest.param(llmsaver.OpenAI, openai.OpenAI, {}, id="OpenAI"),
    pytest.param(llmsaver.AsyncOpenAI, openai.AsyncOpenAI, {}, id="AsyncOpenAI"),
    pytest.param(llmsaver.AzureOpenAI, openai.AzureOpenAI, AZURE, id="AzureOpenAI"),
    pytest.param(llmsaver.AsyncAzureOpenAI, openai.AsyncAzureOpenAI, AZURE, id="AsyncAzureOpenAI"),
    pytest.param(llmsaver.Anthropic, anthropic.Anthropic, {}, id="Anthropic"),
    pytest.param(llmsaver.AsyncAnthropic, anthropic.AsyncAnthropic, {}, id="AsyncAnthropic"),
]


@pytest.mark.parametrize(("ours", "theirs", "given"), KINDS)
def test_a_true_subclass_with_the_sdks_signatures(ours: Any, theirs: Any, given: Any) -> None:
    assert issubclass(ours, theirs)
    assert ours.__name__ == theirs.__name__, "the name goes into the User-Agent"
    for method in ("__init__", "copy", "with_options"):
        mine, base = (inspect.signature(getattr(kind, method)).parameters for kind in (ours, theirs))
        assert list(mine)[: len(base)] == list(base)
        assert {name for name in mine if not name.startswith("_")} == {n for n in base if not n.startswith("_")}
    assert ours.with_options is ours.copy
    client = ours(api_key="k", **given)
    assert isinstance(client, theirs)
    assert type(client) is ours
    assert client.saver is default_saver()
    assert client.user_agent == theirs(api_key="k", **given).user_agent
    assert vars(client.copy()).keys() == vars(client).keys()


@pytest.mark.parametrize(("ours", "theirs", "given"), KINDS)
def test_the_http_client_is_the_one_the_sdk_would_have(ours: Any, theirs: Any, given: Any) -> None:
    client, bare = ours(api_key="k", **given), theirs(api_key="k", **given)
    assert type(client._client) is type(bare._client)
    assert client.timeout == bare.timeout
    assert client._client.timeout == bare._client.timeout
    assert client._client.follow_redirects is bare._client.follow_redirects
    assert client.max_retries == bare.max_retries
    assert client.copy()._client is client._client
    kind = httpx2.AsyncClient if "Async" in ours.__name__ else httpx2.Client
    other = kind(timeout=3)
    assert client.with_options(http_client=other)._client is other
    assert (
        ours(api_key="k", http_client=other, **given).timeout == theirs(api_key="k", http_client=other, **given).timeout
    )


@pytest.mark.parametrize(("ours", "theirs", "given"), KINDS)
def test_wrong_arguments_fail_as_without_us(
    ours: Any, theirs: Any, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")

    def failure(kind: Any, **arguments: Any) -> Any:
        try:
            kind(**given, **arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            return type(error), str(error)
        return None

    for arguments in ({}, {"http_client": object(), "api_key": "k"}, {"max_retries": None, "api_key": "k"}):
        assert failure(ours, **arguments) == failure(theirs, **arguments)
    with pytest.raises(TypeError, match="nonsense"):
        ours(api_key="k", nonsense=1, **given)


@pytest.mark.parametrize(("ours", "theirs", "given"), KINDS)
def test_copies_keep_the_saver_unless_told(ours: Any, theirs: Any, given: Any) -> None:
    saver, other = Saver(), Saver()
    client = ours(api_key="k", saver=saver, annotate=True, **given)
    for copied in (client.copy(), client.with_options(timeout=3), client.copy(max_retries=7).copy()):
        assert isinstance(copied, theirs)
        assert type(copied) is ours
        assert copied.saver is saver
        assert copied._llmsaver is client._llmsaver
    changed = client.with_options(saver=other)
    assert changed.saver is other
    assert changed._llmsaver.annotate is True
    quiet = client.copy(annotate=False)
    assert quiet.saver is saver
    assert quiet._llmsaver.annotate is False
    assert client.saver is saver
    kind = httpx2.AsyncClient if "Async" in ours.__name__ else httpx2.Client
    assert client.with_options(http_client=kind()).saver is saver


def test_every_way_of_replacing_the_http_client_keeps_the_stack() -> None:
    first, second = FakeProvider(answer="one"), FakeProvider(answer="two")
    saver = Saver()
    client = llmsaver.OpenAI(api_key="k", saver=saver, http_client=httpx2.Client(transport=first.transport()))

    def ask(asked: Any) -> str:
        before = saver.last
        answer = asked.chat.completions.create(model="m", messages=HI)
        assert saver.last is not before
        return str(answer.choices[0].message.content)

    assert ask(client) == "one"
    replaced = client.with_options(http_client=httpx2.Client(transport=second.transport()))
    assert [ask(replaced), ask(client), ask(replaced)] == ["two", "one", "two"]
    client._client = httpx2.Client(transport=second.transport())
    assert ask(client) == "two"


def test_a_client_that_has_a_seam_is_not_wrapped_twice() -> None:
    runs = []

    async def counts(request: Request, call_next: CallNext) -> Response:
        runs.append(1)
        return await call_next(request)

    fake = FakeProvider()
    named, other = Saver(stack=[counts]), Saver(stack=[counts])
    http = derive(httpx2.Client(transport=fake.transport()), named)
    client = llmsaver.OpenAI(api_key="k", http_client=http)
    client.chat.completions.create(model="m", messages=HI)
    assert runs == [1]
    assert named.last is not None
    chosen = client.copy(saver=other)
    chosen.chat.completions.create(model="m", messages=HI)
    assert runs == [1, 1]
    assert other.last is not None


def test_an_applications_own_subclass() -> None:
    class Mine(llmsaver.OpenAI):
        def __init__(self, extra: str, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.extra = extra

        def request(self, *args: Any, **arguments: Any) -> Any:
            asked.append(1)
            return super().request(*args, **arguments)

    asked: list[int] = []
    fake, saver = FakeProvider(answer="hello"), Saver()
    client = Mine("x", api_key="k", saver=saver, http_client=httpx2.Client(transport=fake.transport()))
    assert client.chat.completions.create(model="m", messages=HI).choices[0].message.content == "hello"
    assert (client.extra, asked) == ("x", [1])
    assert saver.last is not None
    assert "Mine/Python" in fake.requests[0].headers["user-agent"]


def test_a_failed_construction_leaves_a_harmless_object() -> None:
    client = llmsaver.OpenAI.__new__(llmsaver.OpenAI)
    assert not hasattr(client, "_client")
    with pytest.raises(AttributeError):
        _ = client.saver


def test_a_test_double_is_used_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody's mock in the place of the HTTP client is not ours to refuse."""

    class Double:
        timeout = 1
        is_closed = False

        def build_request(self, **arguments: Any) -> Any:
            arguments.pop("timeout", None)
            return httpx2.Request(**{k: v for k, v in arguments.items() if k in {"method", "url", "headers", "json"}})

        def send(self, request: Any, **_: Any) -> Any:
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
            return httpx2.Response(200, json=answer, request=request)

    client = llmsaver.OpenAI(api_key="k", saver=Saver())
    client._client = Double()  # type: ignore[assignment]  # what a test might do
    client.chat.completions.create(model="m", messages=HI)
    client.chat.completions.create(model="m", messages=HI)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "calls are not seen" in caplog.text


def test_settings_decide_where_the_client_does_not() -> None:
    fake = FakeProvider()

    def noted(**options: Any) -> bool:
        http = httpx2.Client(transport=fake.transport())
        client = llmsaver.OpenAI(api_key="k", http_client=http, **options)
        return hasattr(client.chat.completions.create(model="m", messages=HI), "llmsaver")

    assert not noted(saver=Saver())
    assert noted(saver=Saver(annotate=True))
    assert not noted(saver=Saver(annotate=True), annotate=False)
    assert noted(saver=Saver(annotate=False), annotate=True)


def test_context_managers_and_close() -> None:
    with llmsaver.OpenAI(api_key="k", saver=Saver()) as client:
        http = client._client
        assert not client.is_closed()
    assert client.is_closed()
    assert http.is_closed
    assert seam_of(http) is None


def test_clients_pickle_as_little_as_the_sdks() -> None:
    def failure(kind: Any) -> Any:
        try:
            pickle.dumps(kind(api_key="k"))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            return type(error)
        return None

    assert failure(llmsaver.OpenAI) is failure(openai.OpenAI)


def test_two_threads_share_a_client() -> None:
    from concurrent.futures import ThreadPoolExecutor

    fake, saver = FakeProvider(answer=lambda received: received.json["messages"][0]["content"]), Saver()
    client = llmsaver.OpenAI(api_key="k", saver=saver, http_client=httpx2.Client(transport=fake.transport()))

    def ask(number: int) -> tuple[str, Any]:
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": str(number)}])
        return str(answer.choices[0].message.content), saver.last

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(64)))
    assert [text for text, _ in answers] == [str(number) for number in range(64)]
    assert len({entry.id for _, entry in answers}) == 64


@pytest.mark.parametrize(("ours", "theirs", "given"), KINDS)
def test_urls_are_joined_as_the_sdk_joins_them(ours: Any, theirs: Any, given: Any) -> None:
    client, bare = ours(api_key="k", **given), theirs(api_key="k", **given)
    for _ in range(2):
        for path in ("/v1/messages", "/responses", "/responses", "https://elsewhere.example/v1/x", "/chat/completions"):
            assert client._prepare_url(path) == bare._prepare_url(path)
    for root in ("https://one.example/v1", "https://two.example/deep/"):
        client.base_url = bare.base_url = root
        assert client._prepare_url("/responses") == bare._prepare_url("/responses")
        assert client.copy(base_url="https://three.example")._prepare_url("/x").host == "three.example"


def test_somebodys_own_way_to_join_urls_is_asked_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    client = llmsaver.OpenAI(api_key="k")
    before = client._prepare_url("/responses")
    monkeypatch.setattr(openai.OpenAI, "_prepare_url", lambda *_: httpx2.URL("https://mine.example/"))
    assert client._prepare_url("/responses").host == "mine.example"
    monkeypatch.undo()
    assert client._prepare_url("/responses") == before
