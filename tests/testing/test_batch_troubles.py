"""Batches that go wrong, through the SDKs, and lists of them."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from llmsaver.testing import BatchTroubles, FakeProvider

ASK: Any = [{"role": "user", "content": "hi"}]
PARAMS: Any = {"model": "m", "max_tokens": 9, "messages": ASK}


def begin(client: OpenAI, count: int = 4) -> openai.types.Batch:
    rows = [
        {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": ASK}}
        for n in range(count)
    ]
    content = b"\n".join(json.dumps(row).encode() for row in rows)
    file = client.files.create(file=("i.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"mine": "1"}
    )


def begin_messages(client: Anthropic, count: int = 4) -> Any:
    return client.messages.batches.create(requests=[{"custom_id": f"r{n}", "params": PARAMS} for n in range(count)])


def test_batches_are_listed_newest_first_in_pages(
    openai_of: Callable[..., OpenAI], anthropic_of: Callable[..., Anthropic]
) -> None:
    fake = FakeProvider(polls=0)
    client, other = openai_of(fake), anthropic_of(fake)
    made = [begin(client).id for _ in range(3)]
    listed = list(client.batches.list(limit=2))
    assert [batch.id for batch in listed] == made[::-1]
    assert {batch.status for batch in listed} == {"completed"}
    assert listed[0].metadata == {"mine": "1"}
    messages = [begin_messages(other).id for _ in range(3)]
    found = list(other.messages.batches.list(limit=2))
    assert [batch.id for batch in found] == messages[::-1]
    assert {batch.processing_status for batch in found} == {"ended"}
    assert list(client.batches.list(after=made[0])) == []


def test_a_refused_request_did_nothing_and_a_lost_one_did(
    openai_of: Callable[..., OpenAI], anthropic_of: Callable[..., Anthropic]
) -> None:
    troubles = BatchTroubles(refused=1.0)
    fake = FakeProvider(troubles=troubles)
    client, other = openai_of(fake), anthropic_of(fake)
    with pytest.raises(openai.InternalServerError) as caught:
        begin(client)
    assert caught.value.status_code == 503
    with pytest.raises(anthropic.APIStatusError) as seen:
        begin_messages(other)
    assert seen.value.status_code == 529
    troubles.refused, troubles.lost = 0.0, 1.0
    with pytest.raises(openai.InternalServerError):
        begin(client)
    with pytest.raises(anthropic.InternalServerError):
        begin_messages(other)
    assert len(list(client.batches.list())) == 1
    assert len(list(other.messages.batches.list())) == 1
    assert troubles.counted == {"refused": 2, "lost": 2}


def test_a_batch_that_runs_out_of_time_answers_a_part(
    openai_of: Callable[..., OpenAI], anthropic_of: Callable[..., Anthropic]
) -> None:
    fake = FakeProvider(polls=0, troubles=BatchTroubles(seed=1, expired=1.0))
    client, other = openai_of(fake), anthropic_of(fake)
    done = client.batches.retrieve(begin(client, 40).id)
    assert done.status == "expired"
    assert done.request_counts is not None
    assert 5 < done.request_counts.completed < 35
    assert done.request_counts.completed + done.request_counts.failed == 40
    ended = other.messages.batches.retrieve(begin_messages(other, 40).id)
    assert ended.request_counts.succeeded + ended.request_counts.expired == 40
    assert len(fake.billed) == done.request_counts.completed + ended.request_counts.succeeded


def test_lines_that_fail_too_many_tokens_in_line_and_a_download_that_breaks_off(
    openai_of: Callable[..., OpenAI],
) -> None:
    troubles = BatchTroubles(line=1.0)
    fake = FakeProvider(polls=0, troubles=troubles)
    client = openai_of(fake)
    done = client.batches.retrieve(begin(client).id)
    assert done.error_file_id is not None
    assert '"status_code": 503' in client.files.content(done.error_file_id).text.replace('":5', '": 5')
    troubles.line, troubles.late = 0.0, 1.0
    done = client.batches.retrieve(begin(client).id)
    assert "batch_expired" in client.files.content(done.error_file_id or "").text
    troubles.late, troubles.cut = 0.0, 1.0
    done = client.batches.retrieve(begin(client).id)
    with pytest.raises(openai.APIConnectionError):
        client.files.content(done.output_file_id or "")
    troubles.limited = 1.0
    failed = begin(client)
    assert failed.status == "failed"
    assert failed.errors is not None
    assert failed.errors.data is not None
    assert failed.errors.data[0].code == "token_limit_exceeded"
