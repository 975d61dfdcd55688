"""Responses that are kept or run in the background, through the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from llmsaver.testing import FakeProvider, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import OpenAI

ASK: Any = {"model": "m", "input": "hi"}


def test_a_background_run(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider("one two three", polls=1)
    client = openai_of(fake)
    begun = client.responses.create(**ASK, background=True)
    assert (begun.status, begun.background, begun.usage, begun.output) == ("queued", True, None, [])
    assert [*fake.billed] == []
    assert client.responses.retrieve(begun.id).status == "in_progress"
    assert [*fake.billed] == []
    done = client.responses.retrieve(begun.id)
    assert (done.id, done.status, done.background, done.output_text) == (begun.id, "completed", True, "one two three")
    assert done.usage is not None
    bill = fake.billed[-1]
    assert (bill.output_tokens, bill.state, bill.streamed) == (done.usage.output_tokens, "complete", False)
    assert client.responses.retrieve(begun.id) == done
    assert client.responses.cancel(begun.id) == done
    assert len(fake.billed) == 1


def test_a_run_may_be_followed(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider("one two three")
    client = openai_of(fake)
    begun = client.responses.create(**ASK, background=True)
    events = list(client.responses.retrieve(begun.id, stream=True))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert len(fake.billed) == 1
    rest = list(client.responses.retrieve(begun.id, stream=True, starting_after=2))
    assert [event.sequence_number for event in rest] == list(range(3, len(events)))
    assert len(fake.billed) == 1


def test_a_streamed_run_goes_on_without_its_listener(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider("one two three")
    client = openai_of(fake)
    with client.responses.create(**ASK, background=True, stream=True) as events:
        first: Any = next(iter(events))
    (bill,) = fake.billed
    assert (bill.state, bill.output_tokens) == ("complete", 3)
    assert client.responses.retrieve(first.response.id).output_text == "one two three"
    assert len(fake.billed) == 1


def test_a_cancelled_run_is_not_charged(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider()
    client = openai_of(fake)
    begun = client.responses.create(**ASK, background=True)
    assert client.responses.cancel(begun.id).status == "cancelled"
    assert client.responses.retrieve(begun.id).status == "cancelled"
    assert [*fake.billed] == []


def test_what_is_kept(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider()
    client = openai_of(fake)
    kept = client.responses.create(**ASK)
    assert client.responses.retrieve(kept.id) == kept
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        client.responses.cancel(kept.id)
    fake.script([Fault(500), "fine"])
    with pytest.raises(openai.InternalServerError):
        client.responses.create(**ASK, background=True)
    unkept = client.responses.create(**ASK, store=False)
    for unknown in ("resp_x", unkept.id):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(unknown)
    fake.fail("stored_responses", [Fault(503)])
    with pytest.raises(openai.InternalServerError):
        client.responses.retrieve(kept.id)
