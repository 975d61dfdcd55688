"""What leaves the process: usage is asked for where it is known to be safe, and nothing of ours goes along."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

import llmsaver
from llmsaver import ConfigurationError, Request, Response, Saver
from llmsaver.testing import Answer, FakeProvider, Fault

if TYPE_CHECKING:
    from llmsaver import CallNext

MODEL = "gpt-4o-mini"
HI: list[Any] = [{"role": "user", "content": "hi"}]
VENDOR, OTHER = "https://api.openai.com/v1", "https://gateway.example/v1"


def client_of(fake: FakeProvider, saver: Saver | None = None, **options: Any) -> llmsaver.OpenAI:
    given = {"api_key": "k", "max_retries": 0, "base_url": VENDOR, **options}
    return llmsaver.OpenAI(saver=saver or Saver(), http_client=httpx2.Client(transport=fake.transport()), **given)


@pytest.mark.parametrize("chunking", ["event", "byte", "one", 7])
def test_usage_is_asked_for_and_hidden(chunking: Any) -> None:
    fake, saver = FakeProvider(answer="a b c", chunking=chunking), Saver()
    chunks = list(client_of(fake, saver).chat.completions.create(model=MODEL, messages=HI, stream=True))
    assert fake.requests[0].json["stream_options"] == {"include_usage": True}
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert saver.last is not None
    assert saver.last.usage is not None
    assert saver.last.usage.output_tokens == fake.billed[0].output_tokens
    assert not saver.last.estimated


def test_usage_is_kept_for_who_asked() -> None:
    fake = FakeProvider(answer="a b c")
    asked: Any = {"include_usage": True, "include_obfuscation": False}
    client = client_of(fake)
    chunks = list(client.chat.completions.create(model=MODEL, messages=HI, stream=True, stream_options=asked))
    assert chunks[-1].usage is not None
    assert fake.requests[0].json["stream_options"] == asked


@pytest.mark.parametrize("base_url", [OTHER, "https://api.openai.com.evil.example/v1", "http://127.0.0.1:1/v1"])
def test_usage_is_not_asked_of_unknown_hosts(base_url: str) -> None:
    fake, saver = FakeProvider(answer="a b c"), Saver()
    client = client_of(fake, saver, base_url=base_url)
    list(client.chat.completions.create(model=MODEL, messages=HI, stream=True))
    assert "stream_options" not in fake.requests[0].json
    assert saver.last is not None
    assert saver.last.usage is None
    assert saver.last.estimated


@pytest.mark.parametrize("how", ["mode", "disabled", "option", "header"])
def test_bypassed_calls_are_left_alone(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(_request: Request, _call_next: CallNext) -> Response:
        raise AssertionError

    if how == "disabled":
        monkeypatch.setenv("LLMSAVER_DISABLED", "1")
    fake = FakeProvider(answer="hello")
    client = client_of(fake, Saver(mode="off" if how == "mode" else None, stack=[breaks]), annotate=True)
    given: Any = {
        "option": {"extra_body": {"llmsaver": {"bypass": True}}},
        "header": {"extra_headers": {"X-LLMSaver-Bypass": "yes"}},
    }.get(how, {})
    answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=HI, **given)
    assert not any(name.startswith("x-llmsaver") for name in answer.headers)
    assert not hasattr(answer.parse(), "llmsaver")
    stream = client.chat.completions.create(model=MODEL, messages=HI, stream=True, **given)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "hello"
    assert "stream_options" not in fake.requests[-1].json
    assert b"llmsaver" not in fake.requests[0].body


def test_options_never_leave_the_process() -> None:
    """Not from calls that a layer reads, and not from any other endpoint."""
    fake, saver = FakeProvider(), Saver()
    own: Any = {"extra_body": {"llmsaver": {"feature": "search"}}, "extra_headers": {"X-LLMSaver-User": "me"}}
    client = client_of(fake, saver, default_headers={"x-llmsaver-tenant": "acme"})
    client.chat.completions.create(model=MODEL, messages=HI, **own)
    assert saver.last is not None
    assert (saver.last.feature, saver.last.user, saver.last.tenant) == ("search", "me", "acme")
    list(client.chat.completions.create(model=MODEL, messages=HI, stream=True, **own))
    client.responses.create(model=MODEL, input="hi", **own)
    client.embeddings.create(model="text-embedding-3-small", input="hi", **own)
    for call in (
        lambda: client.moderations.create(input="hi", **own),
        lambda: client.batches.create(
            input_file_id="f", endpoint="/v1/responses", completion_window="24h", metadata={"llmsaver": "mine"}, **own
        ),
        lambda: client.models.retrieve("nope", extra_headers=own["extra_headers"]),
        lambda: client.files.create(file=b"{}", purpose="batch", extra_headers=own["extra_headers"]),
    ):
        with suppress(openai.APIStatusError):  # the fake serves some of them, and none with these arguments
            call()
    assert len(fake.requests) == 8
    for request in fake.requests:
        assert not any(name.startswith("x-llmsaver") for name in request.headers), request.path
        assert not isinstance(request.json, dict) or "llmsaver" not in request.json, request.path
        if request.body:
            assert int(request.headers.get("content-length", len(request.body))) == len(request.body)
    assert fake.requests[5].json["metadata"] == {"llmsaver": "mine"}


def test_an_upload_cannot_carry_options() -> None:
    fake = FakeProvider()
    with pytest.raises(ConfigurationError, match=r"use llmsaver\.options\(\)") as raised:
        client_of(fake).files.create(file=b"{}", purpose="batch", extra_body={"llmsaver": {"feature": "x"}})
    assert isinstance(raised.value, openai.OpenAIError)
    assert fake.calls == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"extra_body": {"llmsaver": "feature"}}, "must be an object of options, not 'feature'"),
        ({"extra_body": {"llmsaver": {"colour": "red"}}}, "unknown option 'colour'"),
        ({"extra_headers": {"X-LLMSaver-Colour": "red"}}, "unknown option 'colour' in X-LLMSaver"),
        ({"extra_headers": {"X-LLMSaver-Annotate": "perhaps"}}, "must be true or false"),
    ],
)
def test_wrong_options_are_told(given: Any, said: str) -> None:
    fake = FakeProvider()
    with pytest.raises(ConfigurationError, match=said) as raised:
        client_of(fake, max_retries=3).chat.completions.create(model=MODEL, messages=HI, **given)
    assert isinstance(raised.value, openai.OpenAIError)
    assert fake.calls == 0


def test_retries_are_one_call_with_several_attempts() -> None:
    fake, saver = FakeProvider(answer="hello"), Saver()
    fake.script([Fault(429, retry_after=0.01), Fault(500), Fault(drop="disconnect"), Answer("done")])
    client = client_of(fake, saver, max_retries=3)
    seen = []

    async def looks(request: Request, call_next: CallNext) -> Response:
        seen.append((request.attempt, request.entry.id))
        return await call_next(request)

    client = client_of(fake, saver := Saver(stack=[looks]), max_retries=3)
    assert client.chat.completions.create(model=MODEL, messages=HI).choices[0].message.content == "done"
    entry = saver.last
    assert entry is not None
    assert [attempt.status for attempt in entry.attempts] == [429, 500, None, 200]
    assert seen == [(number, entry.id) for number in range(4)]
    assert (entry.complete, entry.status, entry.error) == (True, 200, None)
    client.chat.completions.create(model=MODEL, messages=HI)
    assert saver.last is not entry
    assert len(entry.attempts) == 4


def test_retry_after_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    fake = FakeProvider(answer="hello")
    fake.script([Fault(429, retry_after=7)])
    client_of(fake, max_retries=1).chat.completions.create(model=MODEL, messages=HI)
    assert 7.0 in slept


def test_a_call_within_a_call_is_another() -> None:
    """A layer may use a client of its own; the outer call's retry must not be taken for the inner one's."""
    fake = FakeProvider(answer="inner")
    inner_saver = Saver()
    inner = client_of(fake, inner_saver)
    outer_fake = FakeProvider(answer="outer")
    outer_fake.script([Fault(500)])

    async def asks(request: Request, call_next: CallNext) -> Response:
        inner.chat.completions.create(model=MODEL, messages=HI)
        return await call_next(request)

    saver = Saver(stack=[asks])
    client_of(outer_fake, saver, max_retries=1).chat.completions.create(model=MODEL, messages=HI)
    assert saver.last is not None
    assert [attempt.status for attempt in saver.last.attempts] == [500, 200]
    assert inner_saver.last is not None
    assert inner_saver.last is not saver.last
    assert len(inner_saver.last.attempts) == 1


def test_two_savers_do_not_see_each_others_calls() -> None:
    fake, one, two = FakeProvider(), Saver(), Saver()
    client_of(fake, one).chat.completions.create(model=MODEL, messages=HI)
    first = one.last
    client_of(fake, two).chat.completions.create(model=MODEL, messages=HI)
    assert one.last is first
    assert two.last is not first
    assert first is not None
    assert one.entry(first.id) is first
    assert two.entry(first.id) is None


def test_keys_are_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="llmsaver")
    seen: list[Request] = []

    async def breaks(request: Request, call_next: CallNext) -> Response:
        seen.append(request)
        await call_next(request)
        raise ZeroDivisionError

    fake, saver = FakeProvider(), Saver(stack=[breaks])
    base_url = "https://user:secret-password@gateway.example/v1"
    client = client_of(fake, saver, api_key="sk-secret-key", base_url=base_url, default_query={"key": "secret-query"})
    client.chat.completions.create(model=MODEL, messages=HI)
    fake.script([Fault(401), Fault(drop="connect")])
    for _ in range(2):
        with pytest.raises(openai.APIError):
            client.chat.completions.create(model=MODEL, messages=HI)
    said = caplog.text + repr(seen) + repr(saver.last) + repr(client) + repr([r.url for r in seen])
    assert "secret" not in said
    assert seen[0].url == "https://gateway.example/v1/chat/completions"
    assert "ZeroDivisionError" in caplog.text


def test_what_was_signed_is_not_rewritten() -> None:
    fake = FakeProvider(answer="hello")
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=x"}

    async def rewrites(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.with_body(temperature=0))

    client = client_of(fake, default_headers=signed)
    assert list(client.chat.completions.create(model=MODEL, messages=HI, stream=True))
    assert "stream_options" not in fake.requests[-1].json
    with pytest.raises(ConfigurationError, match="signed"):
        client.chat.completions.create(model=MODEL, messages=HI, extra_body={"llmsaver": {"feature": "x"}})
    with pytest.raises(ConfigurationError, match="signed"):
        client.copy(saver=Saver(stack=[rewrites])).chat.completions.create(model=MODEL, messages=HI)
    with llmsaver.options(feature="x"):
        client.chat.completions.create(model=MODEL, messages=HI)
