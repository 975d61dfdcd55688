"""Batches, through the SDKs, from upload to results."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from llmsaver.testing import Answer, FakeProvider, Fault

ASK: Any = [{"role": "user", "content": "hi"}]
# The names of a recorded batch (prism-php/prism, tests/Fixtures/openai/batch-retrieve-completed-1.json).
RECORDED = """id object endpoint errors input_file_id completion_window status output_file_id error_file_id created_at
in_progress_at expires_at finalizing_at completed_at failed_at expired_at cancelling_at cancelled_at request_counts
metadata""".split()  # noqa: SIM905 - reads like the recording


def lines(*bodies: Any, url: str = "/v1/chat/completions") -> bytes:
    rows = [{"custom_id": f"r{index}", "method": "POST", "url": url, "body": body} for index, body in enumerate(bodies)]
    return b"\n".join(json.dumps(row).encode() for row in rows)


def start(client: OpenAI, content: bytes, endpoint: Any = "/v1/chat/completions") -> openai.types.Batch:
    file = client.files.create(file=("input.jsonl", content), purpose="batch")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "input.jsonl", "batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"job": "1"}
    )


def read(client: OpenAI, file_id: str | None) -> dict[str, Any]:
    assert file_id is not None
    rows = map(json.loads, client.files.content(file_id).text.splitlines())
    return {row["custom_id"]: row for row in rows}


def test_an_openai_batch(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider()
    client = openai_of(fake)
    good = {"model": "m", "messages": ASK}
    batch = start(client, lines(good, good, good, {"model": "m", "messages": [], "llmsaver": 1}))
    assert sorted(batch.to_dict()) == sorted(RECORDED)
    assert batch.status == "validating"
    fake.script(["first", Fault(429), Fault(drop="reset")])
    assert client.batches.retrieve(batch.id).status == "in_progress"
    assert [*fake.billed] == []
    done = client.batches.retrieve(batch.id)
    assert done.status == "completed"
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 4, "completed": 1, "failed": 3}
    output = read(client, done.output_file_id)
    assert output["r0"]["response"]["body"]["choices"][0]["message"]["content"] == "first"
    assert output["r0"]["response"]["status_code"] == 200
    errors = read(client, done.error_file_id)
    assert errors["r1"]["response"]["status_code"] == 429
    assert errors["r2"] | {"id": ""} == {
        "id": "",
        "custom_id": "r2",
        "response": None,
        "error": {"code": "batch_expired", "message": "This request could not be executed before it expired."},
    }
    assert "llmsaver" in errors["r3"]["response"]["body"]["error"]["message"]
    assert [(bill.batch, bill.output_tokens) for bill in fake.billed] == [(True, 1)]
    assert client.batches.retrieve(batch.id).output_file_id == done.output_file_id
    assert client.files.retrieve(done.output_file_id or "").purpose == "batch_output"
    assert client.batches.cancel(batch.id).status == "completed"


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        ("/v1/embeddings", {"model": "m", "input": "x"}, "list"),
        ("/v1/responses", {"model": "m", "input": "x"}, "response"),
    ],
)
def test_batches_of_the_other_endpoints(openai_of: Callable[..., OpenAI], endpoint: str, body: Any, kind: str) -> None:
    client = openai_of(FakeProvider(polls=0))
    batch = client.batches.retrieve(start(client, lines(body, url=endpoint), endpoint).id)
    assert read(client, batch.output_file_id)["r0"]["response"]["body"]["object"] == kind


def test_cancelling_an_openai_batch(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider()
    client = openai_of(fake)
    batch = start(client, lines({"model": "m", "messages": ASK}))
    assert client.batches.cancel(batch.id).status == "cancelling"
    assert client.batches.retrieve(batch.id).status == "cancelled"
    assert fake.billed == ()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{not json", "invalid_json_line"),
        (b"[1]", "invalid_json_line"),
        (lines({"model": "m"}, url="/v1/responses"), "mismatched_url"),
        (b"\n".join([lines({"model": "m"})] * 2), "duplicate_custom_id"),
        (b"", "empty_file"),
    ],
)
def test_an_openai_batch_that_cannot_start(openai_of: Callable[..., OpenAI], content: bytes, code: str) -> None:
    client = openai_of(FakeProvider())
    batch = start(client, content)
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert batch.errors.data[0].code == code
    assert client.batches.retrieve(batch.id).status == "failed"


def test_openai_ids_that_do_not_exist(openai_of: Callable[..., OpenAI]) -> None:
    client = openai_of(FakeProvider())
    asks: list[Callable[[str], object]] = [
        client.files.retrieve,
        client.files.content,
        client.batches.retrieve,
        client.batches.cancel,
    ]
    for ask in asks:
        with pytest.raises(openai.NotFoundError, match="nope"):
            ask("nope")
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="nope", endpoint="/v1/responses", completion_window="24h")


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"x", "text/plain", "Expected multipart"),
        (
            b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--B--',
            "multipart/form-data; boundary=B",
            "'purpose'",
        ),
        (b"--B\r\nX: y\r\n\r\nx\r\n--B--", 'multipart/form-data; boundary="B"', "'file'"),
    ],
)
def test_uploads_that_are_refused(content: bytes, kind: str, said: str) -> None:
    headers = {"api-key": "k", "content-type": kind}
    with httpx2.Client(transport=FakeProvider().transport(), headers=headers) as http:
        response = http.post("http://x/files", content=content)
        assert response.status_code == 400
        assert said in response.json()["error"]["message"]
        assert http.post("http://x/batches", content=content).json()["error"]["code"] == "missing_required_parameter"


def test_an_anthropic_batch(anthropic_of: Callable[..., Anthropic]) -> None:
    fake = FakeProvider()
    client = anthropic_of(fake)
    params: Any = {"model": "m", "max_tokens": 9, "messages": ASK}
    requests: Any = [{"custom_id": f"r{index}", "params": params} for index in range(4)]
    requests[3]["params"] = {**params, "max_tokens": 0}
    batch = client.messages.batches.create(requests=requests)
    assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 4)
    with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
        client.messages.batches.results(batch.id)
    fake.script([Answer("one"), Fault(529), Fault(drop="disconnect")])
    done = client.messages.batches.retrieve(batch.id)
    assert done.processing_status == "ended"
    assert done.request_counts.to_dict() == {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 0, "expired": 1}
    results = {row.custom_id: row.result for row in client.messages.batches.results(batch.id)}
    assert [results[f"r{index}"].type for index in range(4)] == ["succeeded", "errored", "expired", "errored"]
    assert results["r0"].type == "succeeded"
    assert results["r0"].message.usage.service_tier == "batch"
    assert results["r1"].type == "errored"
    assert results["r1"].error.error.type == "overloaded_error"
    assert [bill.batch for bill in fake.billed] == [True]


def test_cancelling_an_anthropic_batch(anthropic_of: Callable[..., Anthropic]) -> None:
    client = anthropic_of(FakeProvider())
    params: Any = {"model": "m", "max_tokens": 9, "messages": ASK}
    batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
    assert client.messages.batches.cancel(batch.id).processing_status == "canceling"
    assert client.messages.batches.retrieve(batch.id).request_counts.canceled == 1
    assert client.messages.batches.cancel(batch.id).processing_status == "ended"
    assert [row.result.type for row in client.messages.batches.results(batch.id)] == ["canceled"]


def test_anthropic_batches_that_are_refused(anthropic_of: Callable[..., Anthropic]) -> None:
    client = anthropic_of(FakeProvider())
    with pytest.raises(anthropic.BadRequestError, match="requests: Field required"):
        client.messages.batches.create(requests=[])
    twice: Any = [{"custom_id": "a", "params": {}}] * 2
    with pytest.raises(anthropic.BadRequestError, match="must be unique"):
        client.messages.batches.create(requests=twice)
    for ask in (client.messages.batches.retrieve, client.messages.batches.cancel):
        with pytest.raises(anthropic.NotFoundError):
            ask("nope")
    with httpx2.Client(
        transport=FakeProvider().transport(), headers={"x-api-key": "k", "anthropic-version": "x"}
    ) as http:
        assert http.get("http://x/v1/messages/batches/nope/results").status_code == 404
        assert http.post("http://x/v1/messages/batches", content=b"[").status_code == 400
