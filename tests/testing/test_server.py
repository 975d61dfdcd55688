"""The fake over a real socket."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from openai import OpenAI

from llmsaver.testing import Answer, Delivery, FakeProvider, Fault
from llmsaver.testing.answer import Drop

ASK: Any = [{"role": "user", "content": "hi"}]
BODY = {"model": "m", "messages": ASK}
AUTH = {"authorization": "Bearer k"}


def wait_for(fake: FakeProvider, state: str) -> None:
    for _ in range(6_000):
        if fake.billed and fake.billed[-1].state == state:
            return
        time.sleep(0.01)
    raise AssertionError(fake.billed)


@pytest.mark.parametrize("gzip", [False, True])
def test_both_sdks(gzip: bool) -> None:
    fake = FakeProvider("hello there", chunking=9, gzip=gzip)
    with (
        fake.serve() as base_url,
        OpenAI(api_key="k", base_url=base_url, max_retries=0) as client,
        Anthropic(api_key="k", base_url=base_url, max_retries=0) as other,
    ):
        assert client.chat.completions.create(model="m", messages=ASK).choices[0].message.content == "hello there"
        chunks = list(client.chat.completions.create(model="m", messages=ASK, stream=True))
        assert chunks[-1].choices[0].finish_reason == "stop"
        with client.responses.stream(model="m", input="x") as stream:
            assert stream.get_final_response().output_text == "hello there"
        with other.messages.stream(model="m", max_tokens=9, messages=ASK) as messages:
            assert messages.get_final_text() == "hello there"
        assert [model.id for model in other.models.list()]
    assert fake.requests[0].url.startswith(base_url)
    assert {bill.state for bill in fake.billed} == {"complete"}


@pytest.mark.parametrize(
    ("drop", "after", "error"),
    [
        ("disconnect", None, httpx2.RemoteProtocolError),
        ("disconnect", 2, httpx2.RemoteProtocolError),
        ("reset", None, httpx2.ReadError),
        ("reset", 2, httpx2.ReadError),
        ("connect", None, httpx2.RemoteProtocolError),
        ("read timeout", None, httpx2.ReadTimeout),
        ("read timeout", 2, httpx2.ReadTimeout),
    ],
)
def test_connections_that_break(drop: Drop, after: int | None, error: type[Exception]) -> None:
    fake = FakeProvider()
    fake.script([Fault(drop=drop, after=after)])
    with fake.serve() as base_url, httpx2.Client(base_url=base_url, headers=AUTH) as client:
        client.timeout = 0.2 if drop == "read timeout" else 60
        with pytest.raises(error):
            client.post("/chat/completions", json={**BODY, "stream": True})
        client.timeout = 60
        assert client.post("/chat/completions", json=BODY).status_code == 200


def test_a_client_that_leaves_is_noticed() -> None:
    fake = FakeProvider(Answer("word " * 20_000, delivery=Delivery(pause=0.005)))
    with fake.serve() as base_url, httpx2.Client(base_url=base_url, headers=AUTH) as client:
        with client.stream("POST", "/responses", json={"model": "m", "input": "x", "stream": True}) as response:
            next(response.iter_bytes())
        wait_for(fake, "aborted")
    assert fake.billed[0].delivered < 20_000


def test_an_error_a_bad_url_and_any_method() -> None:
    fake = FakeProvider(Fault(429, retry_after=2))
    with fake.serve() as base_url, httpx2.Client(base_url=base_url, headers=AUTH) as client:
        refused = client.post("/v1/chat/completions", json=BODY)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        missing = client.delete("/v1/nowhere")
        assert missing.json()["error"]["message"] == "Invalid URL (DELETE /v1/nowhere)"
        assert client.get("/v1/models").json()["object"] == "list"


def test_a_chunked_request_is_read() -> None:
    fake = FakeProvider("ok")
    content = json.dumps(BODY).encode()
    with fake.serve() as base_url, httpx2.Client(base_url=base_url, headers=AUTH) as client:
        response = client.post("/chat/completions", content=iter([content[:10], content[10:]]))
    assert response.json()["choices"][0]["message"]["content"] == "ok"
    assert fake.requests[0].json == BODY


def test_what_is_not_http_hurts_nobody() -> None:
    fake = FakeProvider("ok")
    with fake.serve() as base_url:
        port = int(base_url.rsplit(":", 1)[1])
        raw = http.client.HTTPConnection("127.0.0.1", port)
        raw.putrequest("POST", "/responses")
        raw.putheader("transfer-encoding", "chunked")
        raw.endheaders(b"zz\r\n")
        with pytest.raises((http.client.HTTPException, OSError)):
            raw.getresponse()
        raw.close()
        with httpx2.Client(base_url=base_url, headers=AUTH) as client:
            assert client.post("/chat/completions", json=BODY).status_code == 200
    assert fake.calls == 1


def test_many_threads_at_once() -> None:
    fake = FakeProvider()
    fake.script(f"answer {number}" for number in range(60))
    with fake.serve() as base_url, httpx2.Client(base_url=base_url, headers=AUTH) as client:

        def ask(_: int) -> str:
            said: str = client.post("/chat/completions", json=BODY).json()["choices"][0]["message"]["content"]
            return said

        with ThreadPoolExecutor(12) as pool:
            answers = set(pool.map(ask, range(60)))
    assert answers == {f"answer {number}" for number in range(60)}
    assert [request.number for request in fake.requests] == list(range(60))
    assert len(fake.billed) == fake.calls == 60


def test_the_end_closes_idle_connections() -> None:
    fake = FakeProvider("ok")
    with httpx2.Client(headers=AUTH) as client:
        with fake.serve() as base_url:
            assert client.post(f"{base_url}/chat/completions", json=BODY).status_code == 200
        with pytest.raises(httpx2.TransportError):
            client.post(f"{base_url}/chat/completions", json=BODY)


def test_leaving_does_not_wait_for_slow_answers() -> None:
    fake = FakeProvider(delay=600)
    begun = time.monotonic()
    with fake.serve() as base_url, pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{base_url}/chat/completions", json=BODY, headers=AUTH, timeout=0.05)
    assert time.monotonic() - begun < 60
