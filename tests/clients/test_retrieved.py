"""What is fetched reaches the caller as it came, whatever the network does and whatever happens to the books."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import openai
import pytest

import llmsaver
from llmsaver import Saver
from llmsaver.clients import retrieved as clients_retrieved
from llmsaver.clients.http import derive
from llmsaver.middleware import retrieved
from llmsaver.wire.batch_lines import BatchLines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

BODY = {
    "id": "c",
    "object": "chat.completion",
    "model": "gpt-5-mini",
    "usage": {"prompt_tokens": 8, "completion_tokens": 2},
}
# Half of 8 x 250 and 2 x 2,000 nano-dollars.
LINE_NANO = 3_000


def file_of(count: int, text: str = "") -> bytes:
    rows = [
        {"id": f"batch_req_{i}", "custom_id": f"c{i}", "response": {"status_code": 200, "body": {**BODY, "text": text}}}
        for i in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Pieces(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """Bytes in small pieces, and an error at the end where there is one."""

    def __init__(self, content: bytes, error: Exception | None = None, size: int = 1000) -> None:
        self.content, self.error, self.size = content, error, size

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self.content), self.size):
            yield self.content[start : start + self.size]
        if self.error is not None:
            raise self.error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[Saver]:
    with Saver(ledger=str(tmp_path / "l.db")) as made:
        yield made


def rows(saver: Saver) -> list[dict[str, Any]]:
    assert saver.ledger is not None
    saver.ledger.drain(60)
    with saver.ledger.open().reader() as reader:
        return reader.calls(limit=100_000)


def fetch(saver: Saver, answer: Callable[[], httpx2.Response], *, asynchronous: bool, stream: bool) -> bytes:
    """Download a file through the SDK's own http client."""
    wire = httpx2.MockTransport(lambda _: answer())
    if not asynchronous:
        client = llmsaver.OpenAI(api_key="k", max_retries=0, saver=saver, http_client=httpx2.Client(transport=wire))
        if not stream:
            return client.files.content("f").content
        with client.files.with_streaming_response.content("f") as response:
            content = response.read()
        assert response.http_response.elapsed.total_seconds() >= 0
        return content

    async def go() -> bytes:
        http = httpx2.AsyncClient(transport=wire)
        async with llmsaver.AsyncOpenAI(api_key="k", max_retries=0, saver=saver, http_client=http) as client:
            if not stream:
                return (await client.files.content("f")).content
            async with client.files.with_streaming_response.content("f") as response:
                return await response.read()

    return asyncio.run(go())


WAYS = pytest.mark.parametrize(("asynchronous", "stream"), [(False, False), (False, True), (True, False), (True, True)])


@WAYS
def test_many_lines(saver: Saver, monkeypatch: pytest.MonkeyPatch, asynchronous: bool, stream: bool) -> None:
    monkeypatch.setattr(retrieved, "AHEAD", 0)
    monkeypatch.setattr(clients_retrieved, "AHEAD", 0)
    content = file_of(700)
    got = fetch(saver, lambda: httpx2.Response(200, stream=Pieces(content)), asynchronous=asynchronous, stream=stream)
    assert got == content
    found = rows(saver)
    assert (len(found), sum(row["cost_nano"] for row in found)) == (700, 700 * LINE_NANO)


@WAYS
def test_a_broken_encoding_is_the_callers_error(saver: Saver, asynchronous: bool, stream: bool) -> None:
    packed = gzip.compress(file_of(3))
    for content in (b"no gzip at all" * 10, packed[:40] + b"\xff" * 40):
        with pytest.raises((httpx2.DecodingError, openai.APIConnectionError)):
            fetch(
                saver,
                lambda content=content: httpx2.Response(
                    200, headers={"content-encoding": "gzip"}, stream=Pieces(content)
                ),  # type: ignore[misc]
                asynchronous=asynchronous,
                stream=stream,
            )
    assert rows(saver) == []


@WAYS
def test_a_broken_connection_keeps_what_came(saver: Saver, asynchronous: bool, stream: bool) -> None:
    content = file_of(3)
    lost = httpx2.ReadError("gone")
    with pytest.raises((httpx2.ReadError, openai.APIConnectionError)):
        fetch(
            saver,
            lambda: httpx2.Response(200, stream=Pieces(content[:-20], lost, 50)),
            asynchronous=asynchronous,
            stream=stream,
        )
    assert len(rows(saver)) == (2 if stream else 0)


@WAYS
@pytest.mark.parametrize("what", ["watch", "see", "decoder"])
def test_bugs_of_ours_cost_nobody_the_file(
    saver: Saver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    asynchronous: bool,
    stream: bool,
    what: str,
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    if what == "watch":
        monkeypatch.setattr(retrieved.Retrieved, "watch", fails)
    elif what == "see":
        monkeypatch.setattr(BatchLines, "feed", fails)
        monkeypatch.setattr(BatchLines, "flush", fails)
    else:
        monkeypatch.setattr(clients_retrieved, "_all" if not stream else "_decoder", fails)
    content = file_of(3)
    got = fetch(saver, lambda: httpx2.Response(200, stream=Pieces(content)), asynchronous=asynchronous, stream=stream)
    assert got == content
    assert "not booked" in caplog.text
    assert rows(saver) == []


def test_budgets_that_cannot_be_found_cost_no_row(saver: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(saver._budget, "claims", fails)
    fetch(saver, lambda: httpx2.Response(200, content=file_of(2)), asynchronous=False, stream=False)
    assert len(rows(saver)) == 2


@pytest.mark.parametrize("status", [206, 304, 404])
def test_only_whole_answers_are_read(saver: Saver, status: int) -> None:
    client = derive(
        httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(status, content=file_of(2)))), saver
    )
    assert client.get("https://api.openai.com/v1/files/f/content").content == file_of(2)
    assert rows(saver) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_the_older_http_module(saver: Saver, stream: bool, packed: bool) -> None:
    content = file_of(5)
    headers = {"content-encoding": "gzip"} if packed else {}

    class Old(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield from Pieces(gzip.compress(content) if packed else content)

    wire = httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=Old()))
    client = derive(httpx.Client(transport=wire), saver)
    url = "https://my.openai.azure.com/openai/files/f/content"
    if stream:
        with client.stream("GET", url) as response:
            assert b"".join(response.iter_raw()) == (gzip.compress(content) if packed else content)
    else:
        assert client.get(url).content == content
    found = rows(saver)
    assert [row["upstream"] for row in found] == ["my.openai.azure.com"] * 5


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"[]", "application/json"),
        (b"not json", "application/json"),
        (b'{"id": "r", "background": true, "status": "completed"', "application/json"),
        (b'{"id": 7, "background": true, "status": "completed", "usage": {"input_tokens": 1}}', "application/json"),
        (b'{"id": "r", "background": true, "status": ["x"], "usage": {}}', "application/json"),
        (b"data: nonsense\n\n", "text/event-stream"),
        (b" " * 2000, "application/json"),
    ],
)
def test_what_is_no_run_passes(saver: Saver, monkeypatch: pytest.MonkeyPatch, content: bytes, kind: str) -> None:
    monkeypatch.setattr(retrieved, "LONGEST_RUN", 1000)
    wire = httpx2.MockTransport(lambda _: httpx2.Response(200, headers={"content-type": kind}, stream=Pieces(content)))
    client = derive(httpx2.Client(transport=wire), saver)
    with client.stream("GET", "https://api.openai.com/v1/responses/r") as response:
        assert response.read() == content
    assert rows(saver) == []
