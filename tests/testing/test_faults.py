"""Every failure, as the SDKs' own exceptions."""

from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from llmsaver.testing import Answer, Delivery, FakeProvider, Fault
from llmsaver.testing.answer import Drop

ASK: Any = [{"role": "user", "content": "hi"}]

OPENAI_ERRORS = [
    (400, openai.BadRequestError, "invalid_request_error", None),
    (401, openai.AuthenticationError, "invalid_request_error", "invalid_api_key"),
    (403, openai.PermissionDeniedError, "request_forbidden", "unsupported_country_region_territory"),
    (404, openai.NotFoundError, "invalid_request_error", "model_not_found"),
    (409, openai.ConflictError, "invalid_request_error", "conflict"),
    (413, openai.APIStatusError, "invalid_request_error", "request_too_large"),
    (418, openai.APIStatusError, "invalid_request_error", None),
    (422, openai.UnprocessableEntityError, "invalid_request_error", None),
    (429, openai.RateLimitError, "requests", "rate_limit_exceeded"),
    (500, openai.InternalServerError, "server_error", None),
    (503, openai.InternalServerError, "server_error", None),
    (529, openai.InternalServerError, "server_error", None),
]
ANTHROPIC_ERRORS: list[tuple[int, type[anthropic.APIStatusError], str]] = [
    (400, anthropic.BadRequestError, "invalid_request_error"),
    (401, anthropic.AuthenticationError, "authentication_error"),
    (402, anthropic.APIStatusError, "billing_error"),
    (403, anthropic.PermissionDeniedError, "permission_error"),
    (404, anthropic.NotFoundError, "not_found_error"),
    (409, anthropic.ConflictError, "conflict_error"),
    (413, anthropic.APIStatusError, "request_too_large"),
    (422, anthropic.UnprocessableEntityError, "invalid_request_error"),
    (429, anthropic.RateLimitError, "rate_limit_error"),
    (500, anthropic.InternalServerError, "api_error"),
    (503, anthropic.InternalServerError, "api_error"),
    (504, anthropic.InternalServerError, "timeout_error"),
    (529, anthropic.InternalServerError, "overloaded_error"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "error", "kind", "code"), OPENAI_ERRORS)
def test_openai_statuses(
    openai_of: Callable[..., OpenAI],
    status: int,
    error: type[openai.APIStatusError],
    kind: str,
    code: str,
    stream: bool,
) -> None:
    fake = FakeProvider(Fault(status, after=1))
    with pytest.raises(error if not stream else openai.APIError) as caught:
        list(openai_of(fake).chat.completions.create(model="gpt-x", messages=ASK, stream=stream))
    assert (caught.value.type, caught.value.code) == (kind, code)
    if isinstance(caught.value, openai.APIStatusError):
        assert caught.value.status_code == status
        assert caught.value.request_id == caught.value.response.headers["x-request-id"]
        assert fake.billed == ()
    else:
        assert [bill.state for bill in fake.billed] == ["aborted"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "error", "kind"), ANTHROPIC_ERRORS)
def test_anthropic_statuses(
    anthropic_of: Callable[..., Anthropic], status: int, error: type[anthropic.APIStatusError], kind: str, stream: bool
) -> None:
    with pytest.raises(error) as caught:
        anthropic_of(FakeProvider(Fault(status))).messages.create(model="m", max_tokens=9, messages=ASK, stream=stream)
    body: Any = caught.value.body
    assert caught.value.status_code == status
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == caught.value.request_id == caught.value.response.headers["request-id"]


def test_the_words_of_an_error_can_be_replaced(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(
        FakeProvider(Fault(400, message="too long", code="context_length_exceeded", headers={"X-Extra": "1"}))
    )
    with pytest.raises(openai.BadRequestError, match="too long") as caught:
        client.chat.completions.create(model="m", messages=ASK)
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.response.headers["x-extra"] == "1"


def test_an_exhausted_quota_is_another_429(openai_of: Callable[..., OpenAI]) -> None:
    with pytest.raises(openai.RateLimitError, match="exceeded your current quota") as caught:
        openai_of(FakeProvider(Fault(429, code="insufficient_quota"))).responses.create(model="m", input="x")
    assert (caught.value.code, caught.value.type) == ("insufficient_quota", "insufficient_quota")


def test_the_sdks_retry_after_the_time_told(
    openai_of: Callable[..., OpenAI], anthropic_of: Callable[..., Anthropic]
) -> None:
    fake = FakeProvider()
    fake.script([Fault(429, retry_after=0.01), Fault(503, retry_after=0.01), "third"])
    done = openai_of(fake, max_retries=2).chat.completions.create(model="m", messages=ASK)
    assert done.choices[0].message.content == "third"
    assert [request.headers["x-stainless-retry-count"] for request in fake.requests] == ["0", "1", "2"]
    assert [bill.number for bill in fake.billed] == [2]
    fake.script([Fault(529, retry_after=0.01)])
    message = anthropic_of(fake, max_retries=1).messages.create(model="m", max_tokens=9, messages=ASK)
    assert message.stop_reason == "end_turn"
    assert fake.calls == 5


def test_an_error_event_breaks_an_anthropic_stream(anthropic_of: Callable[..., Anthropic]) -> None:
    # The body anthropic-sdk-python 2.11.0 expects: tests/test_streaming.py, the "event: error" case.
    fake = FakeProvider(Fault(529, after=4, answer=Answer("one two three")))
    seen: list[Any] = []
    with pytest.raises(anthropic.APIStatusError, match="Overloaded") as caught:
        seen.extend(anthropic_of(fake).messages.create(model="m", max_tokens=9, messages=ASK, stream=True))
    assert [event.type for event in seen] == ["message_start", "content_block_start", "content_block_delta"]
    assert caught.value.body == {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert fake.billed[0].output_tokens == 1


def test_an_error_event_breaks_a_responses_stream(openai_of: Callable[..., OpenAI], wire: Any, sse: Any) -> None:
    fake = FakeProvider(Fault(500, after=5, answer=Answer("one two three")))
    with pytest.raises(openai.APIError, match="server had an error"):
        list(openai_of(fake).responses.create(model="m", input="x", stream=True))
    events = sse(wire(fake, "responses", {"model": "m", "input": "x", "stream": True}).content)
    assert [name for name, _ in events[-2:]] == ["error", "response.failed"]
    assert [data["sequence_number"] for _, data in events] == list(range(7))
    assert events[-1][1]["response"]["error"]["code"] == "server_error"


DROPS: list[tuple[Drop, str, bool]] = [
    ("connect", "ConnectError", False),
    ("connect timeout", "ConnectTimeout", False),
    ("read timeout", "ReadTimeout", True),
    ("disconnect", "RemoteProtocolError", True),
    ("reset", "ReadError", True),
]


@pytest.mark.parametrize(("drop", "cause", "charged"), DROPS)
def test_a_connection_that_breaks_before_the_headers(
    openai_of: Callable[..., OpenAI], anthropic_of: Callable[..., Anthropic], drop: Drop, cause: str, charged: bool
) -> None:
    fake = FakeProvider(Fault(drop=drop))
    with pytest.raises(openai.APIConnectionError) as caught:
        openai_of(fake).chat.completions.create(model="m", messages=ASK)
    assert type(caught.value.__cause__).__name__ == cause
    assert isinstance(caught.value, openai.APITimeoutError) is ("timeout" in drop)
    with pytest.raises(anthropic.APIConnectionError):
        anthropic_of(fake).messages.create(model="m", max_tokens=9, messages=ASK, stream=True)
    assert fake.calls == 2
    assert [bill.state for bill in fake.billed] == ["aborted"] * (2 * charged)


@pytest.mark.parametrize(("drop", "cause"), [(drop, cause) for drop, cause, charged in DROPS if charged])
def test_a_stream_that_breaks_in_the_middle(openai_of: Callable[..., OpenAI], drop: Drop, cause: str) -> None:
    fake = FakeProvider(Fault(drop=drop, after=3, answer=Answer("one two three four", reasoning="hm")))
    stream = openai_of(fake).chat.completions.create(model="m", messages=ASK, stream=True)
    seen: list[Any] = []
    with pytest.raises(openai.APIConnectionError) as caught:
        seen.extend(stream)
    assert type(caught.value.__cause__).__name__ == cause
    assert [chunk.choices[0].delta.content for chunk in seen] == ["", "one", " two"]
    bill = fake.billed[0]
    assert (bill.state, bill.delivered, bill.output_tokens) == ("aborted", 2, 3)


def test_a_whole_answer_that_breaks_in_the_middle(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider(Fault(drop="disconnect", after=30, answer=Answer("one two")))
    with pytest.raises(openai.APIConnectionError):
        openai_of(fake).chat.completions.create(model="m", messages=ASK)
    # Nothing stops the model once it has answered: the provider charges it all.
    assert (fake.billed[0].state, fake.billed[0].output_tokens) == ("aborted", 2)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(body=b'{"id": "chatcmpl-1", "choices": ['), openai.APIError),
        (Fault(body=b"\xff\xfe\x00{"), openai.APIError),
        (Fault(502, body=b"<html>Bad gateway</html>", content_type="text/html"), openai.InternalServerError),
        (Fault(502, body=b"<html>", after=2, drop="disconnect"), openai.APIConnectionError),
    ],
)
def test_bodies_no_vendor_should_send(openai_of: Callable[..., OpenAI], fault: Fault, error: type[Exception]) -> None:
    fake = FakeProvider(fault)
    with pytest.raises((error, ValueError)):
        openai_of(fake).chat.completions.create(model="m", messages=ASK)
    assert len(fake.billed) == (fault.status is None)


def test_a_wrong_content_type_reaches_the_caller_as_text(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider(Fault(body=b"<html>login</html>", content_type="text/html")))
    answer: object = client.chat.completions.create(model="m", messages=ASK)
    assert answer == "<html>login</html>"


def test_broken_sse(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider(Fault(body=b"data: {oops\n\ndata: [DONE]\n\n")))
    with pytest.raises(ValueError, match="Expecting property name"):
        list(client.chat.completions.create(model="m", messages=ASK, stream=True))


def test_faults_go_to_endpoints_that_exist() -> None:
    with pytest.raises(ValueError, match="'chat' is not one of count_tokens, embeddings"):
        FakeProvider().fail("chat", [Fault(500)])


def test_a_fault_says_something() -> None:
    with pytest.raises(ValueError, match="needs a status"):
        Fault()


def test_faults_of_the_other_endpoints(
    openai_of: Callable[..., OpenAI], anthropic_of: Callable[..., Anthropic]
) -> None:
    fake = FakeProvider()
    fake.fail(
        "embeddings", [Fault(429, retry_after=1), Fault(drop="reset"), Fault(body=b"[", delivery=Delivery("one"))]
    )
    client = openai_of(fake)
    with pytest.raises(openai.RateLimitError) as caught:
        client.embeddings.create(model="m", input="x")
    assert caught.value.response.headers["retry-after"] == "1"
    with pytest.raises(openai.APIConnectionError):
        client.embeddings.create(model="m", input="x")
    with pytest.raises((openai.APIError, ValueError)):
        client.embeddings.create(model="m", input="x")
    assert client.embeddings.create(model="m", input="x").data
    fake.fail("count_tokens", [Fault(529)])
    with pytest.raises(anthropic.InternalServerError):
        anthropic_of(fake).messages.count_tokens(model="m", messages=ASK)
    assert [bill.dialect for bill in fake.billed] == ["embeddings"]
