"""Every usage variant, delivered whole and streamed, and readable by the SDKs."""

from collections.abc import Callable
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from llmsaver.testing import FakeProvider, usage_variants

ASK: Any = [{"role": "user", "content": "hi"}]
SERVED = [(dialect, name) for dialect in ("chat", "responses", "messages") for name in usage_variants(dialect)]


@pytest.mark.parametrize(("dialect", "name"), SERVED)
def test_usage_arrives_as_scripted(
    openai_of: Callable[..., OpenAI], anthropic_of: Callable[..., Anthropic], dialect: str, name: str
) -> None:
    answer = usage_variants(dialect)[name]
    fake = FakeProvider(answer)
    client = openai_of(fake)
    reported: list[Any] = []
    if dialect == "chat":
        reported.append(client.chat.completions.create(model="m", messages=ASK))
        chunks = client.chat.completions.create(
            model="m", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        reported.append(list(chunks)[-1])
    elif dialect == "responses":
        reported.append(client.responses.create(model="m", input="x"))
        events: Any = list(client.responses.create(model="m", input="x", stream=True))
        reported.append(events[-1].response)
    else:
        beta = anthropic_of(fake).beta.messages
        reported.append(beta.create(model="m", max_tokens=9, messages=ASK))
        if name not in ("missing", "null_fields", "negative"):
            with beta.stream(model="m", max_tokens=9, messages=ASK) as stream:
                reported.append(stream.get_final_message())
    for message in reported:
        told = message.to_dict(mode="json")
        expected = None if answer.usage == "missing" else answer.usage
        assert told.get("usage") == expected
        assert {key: told[key] for key in answer.extra} == dict(answer.extra)
    assert all(bill.usage == expected for bill in fake.billed)


def test_bills_add_what_the_messages_dialect_keeps_apart() -> None:
    for name in ("plain", "cached", "cache_write_5m", "cache_write_both", "thinking"):
        fake = FakeProvider(usage_variants("messages")[name])
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
        body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}'
        fake.receive("POST", "http://x/v1/messages", headers, body)
        assert (fake.billed[0].input_tokens, fake.billed[0].output_tokens) == (2000, 500)


def test_unreported_usage_is_still_charged(wire: Any) -> None:
    fake = FakeProvider(usage_variants("chat")["missing"])
    body = wire(fake, "chat", {"model": "m", "messages": ASK}).json()
    assert "usage" not in body
    assert fake.billed[0].usage is None
    assert (fake.billed[0].input_tokens, fake.billed[0].output_tokens) == (7, 1)
