"""Twelve ways to make one call, over a fake provider: sync and async, streamed and not, in each of three dialects."""

from __future__ import annotations

import asyncio
import http.server
import inspect
import itertools
import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest

import llmsaver
from llmsaver import LocalModelError, Saver
from llmsaver.core.entry import current_entry
from llmsaver.local.endpoint import Endpoint, Share
from llmsaver.testing import FakeProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

MODELS = {"chat": "gpt-4o-mini", "responses": "gpt-4o-mini", "messages": "claude-haiku-4-5"}


@dataclass(frozen=True)
class Way:
    """How a call is made."""

    dialect: str
    asynchronous: bool
    stream: bool

    @property
    def model(self) -> str:
        return MODELS[self.dialect]

    def arguments(self, prompt: str = "hi") -> dict[str, Any]:
        """Return what a user writes for one question in this dialect."""
        if self.dialect == "responses":
            return {"model": self.model, "input": prompt}
        more: dict[str, Any] = {"max_tokens": 64} if self.dialect == "messages" else {}
        return {"model": self.model, "messages": [{"role": "user", "content": prompt}], **more}

    def prompt_of(self, body: Any) -> Any:
        """Return the question in a request body."""
        return body["input"] if self.dialect == "responses" else body["messages"][-1]["content"]

    def body_with(self, body: Any, prompt: str) -> dict[str, Any]:
        """Return a request body with another question."""
        return {**body, **{key: value for key, value in self.arguments(prompt).items() if key in ("input", "messages")}}

    def answer(self, text: str) -> dict[str, Any]:
        """Return an answer of this dialect."""
        if self.dialect == "chat":
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
            top: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "made-up"}
            return {**top, "choices": [choice], "usage": usage}
        if self.dialect == "messages":
            top = {"id": "msg_1", "type": "message", "role": "assistant", "model": "made-up", "stop_reason": "end_turn"}
            usage = {"input_tokens": 5, "output_tokens": 7}
            return {**top, "content": [{"type": "text", "text": text}], "stop_sequence": None, "usage": usage}
        content = [{"type": "output_text", "text": text, "annotations": []}]
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
        top = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "made-up"}
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12, **details}
        rest = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        return {**top, **rest, "output": [item], "usage": usage}


WAYS = [
    pytest.param(Way(dialect, asynchronous, stream), id=f"{dialect}-{'async' if asynchronous else 'sync'}-{how}")
    for dialect in MODELS
    for asynchronous in (False, True)
    for stream, how in ((False, "whole"), (True, "stream"))
]


@dataclass
class Told:
    """What the caller of a call saw."""

    text: str
    values: list[Any]
    headers: Any
    usage: tuple[int, int] | None = None
    note: Any = None


def _told(way: Way, values: list[Any], headers: Any) -> Told:
    last: Any = values[-1] if values else None
    if way.dialect == "chat" and way.stream:
        text = "".join(choice.delta.content or "" for chunk in values for choice in chunk.choices)
        usage = next((chunk.usage for chunk in reversed(values) if chunk.usage), None)
        note = next((chunk.llmsaver for chunk in values if hasattr(chunk, "llmsaver")), None)
    elif way.dialect == "chat":
        text, usage, note = last.choices[0].message.content, last.usage, getattr(last, "llmsaver", None)
    elif way.dialect == "responses":
        text = "".join(event.delta for event in values if getattr(event, "type", "") == "response.output_text.delta")
        whole = last.response if way.stream else last
        text, usage = text if way.stream else whole.output_text, whole.usage
        note = getattr(whole, "llmsaver", None)
    elif way.stream:
        text = "".join(event.delta.text for event in values if event.type == "content_block_delta")
        usage = next((event.usage for event in values if event.type == "message_delta"), None)
        note = next((getattr(e.message, "llmsaver", None) for e in values if e.type == "message_start"), None)
    else:
        text, usage, note = last.content[0].text, last.usage, getattr(last, "llmsaver", None)
    counts = None
    if usage is not None:
        inputs = usage.prompt_tokens if way.dialect == "chat" else usage.input_tokens
        counts = (inputs or 0, usage.completion_tokens if way.dialect == "chat" else usage.output_tokens)
    return Told(text, values, headers, counts, note)


_OURS = (llmsaver.OpenAI, llmsaver.AsyncOpenAI, llmsaver.Anthropic, llmsaver.AsyncAnthropic)
_THEIRS = (openai.OpenAI, openai.AsyncOpenAI, anthropic.Anthropic, anthropic.AsyncAnthropic)


def _resource(way: Way, client: Any) -> Any:
    return {"chat": lambda: client.chat.completions, "responses": lambda: client.responses}.get(
        way.dialect, lambda: client.messages
    )()


class Caller:
    """Makes calls over a transport or a fake provider and closes what it opened."""

    def __init__(self) -> None:
        self.saver: Any = None

    def client(self, way: Way, wire: Any, *, bare: bool = False, **options: Any) -> Any:
        """Make a client, ours or the bare SDK's; `wire` is a FakeProvider, a transport or an HTTP client."""
        if isinstance(wire, FakeProvider):
            wire = wire.async_transport() if way.asynchronous else wire.transport()
        if not isinstance(wire, httpx2.Client | httpx2.AsyncClient):
            wire = httpx2.AsyncClient(transport=wire) if way.asynchronous else httpx2.Client(transport=wire)
        kind: Any = (_THEIRS if bare else _OURS)[2 * (way.dialect == "messages") + way.asynchronous]
        own = {} if bare else {"saver": self.saver}
        return kind(http_client=wire, **{"api_key": "sk-test", "max_retries": 0, **own, **options})

    def ask(self, way: Way, wire: Any, *, prompt: str = "hi", create: Any = None, **options: Any) -> Told:
        """Make the call and read the answer to its end."""
        arguments = {**way.arguments(prompt), **(create or {})}
        if way.asynchronous:
            return asyncio.run(self.aask(way, wire, arguments, **options))
        with self.client(way, wire, **options) as client:
            resource = _resource(way, client)
            if not way.stream:
                raw = resource.with_raw_response.create(**arguments)
                return _told(way, [raw.parse()], raw.headers)
            stream = resource.create(**arguments, stream=True)
            return _told(way, list(stream), stream.response.headers)

    async def aask(self, way: Way, wire: Any, arguments: dict[str, Any], **options: Any) -> Told:
        """Do the same on the running loop."""
        async with self.client(way, wire, **options) as client:
            resource = _resource(way, client)
            if not way.stream:
                raw = await resource.with_raw_response.create(**arguments)
                value = raw.parse()
                return _told(way, [await value if inspect.isawaitable(value) else value], raw.headers)
            stream = await resource.create(**arguments, stream=True)
            return _told(way, [event async for event in stream], stream.response.headers)

    def drain(self, way: Way, client: Any, each: Callable[[Any], object], limit: int | None = None) -> Any:
        """Stream an answer, calling `each` with every value as it comes; give the unclosed stream back at the limit."""

        async def drain() -> Any:
            stream = await _resource(way, client).create(**way.arguments(), stream=True)
            count = itertools.count(1)
            async for value in stream:
                each(value)
                if next(count) == limit:
                    break
            return stream

        if way.asynchronous:
            return asyncio.run(drain())
        stream = _resource(way, client).create(**way.arguments(), stream=True)
        for value in itertools.islice(stream, limit):
            each(value)
        return stream

    def resource(self, way: Way, client: Any) -> Any:
        """Return the resource whose `create` speaks this dialect."""
        return _resource(way, client)


class SyncPieces(httpx2.SyncByteStream):
    """A body of given pieces; `log` notes each as it leaves, an exception among them is raised."""

    def __init__(self, pieces: list[Any], log: list[str], close_error: Exception | None = None) -> None:
        self.pieces, self.log, self.close_error = pieces, log, close_error

    def __iter__(self) -> Iterator[bytes]:
        for number, piece in enumerate(self.pieces):
            if isinstance(piece, Exception):
                raise piece
            self.log.append(f"sent {number}")
            yield piece

    def close(self) -> None:
        self.log.append("closed")
        if self.close_error is not None:
            raise self.close_error


class AsyncPieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: list[Any], log: list[str], close_error: Exception | None = None) -> None:
        self.pieces, self.log, self.close_error = pieces, log, close_error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, piece in enumerate(self.pieces):
            if isinstance(piece, Exception):
                raise piece
            self.log.append(f"sent {number}")
            if isinstance(piece, float):
                await asyncio.sleep(piece)
                continue
            yield piece

    async def aclose(self) -> None:
        self.log.append("closed")
        if self.close_error is not None:
            raise self.close_error


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own keys, proxies and settings out of the tests."""
    for name in os.environ:
        upper = name.upper()
        if upper.startswith(("OPENAI_", "ANTHROPIC_", "AZURE_", "LLMSAVER_")) or upper.endswith("_PROXY"):
            with suppress(KeyError):
                monkeypatch.delenv(name)
    for sdk in ("openai", "anthropic"):  # their retries need not be waited for
        monkeypatch.setattr(f"{sdk}._base_client.INITIAL_RETRY_DELAY", 0.001)
        monkeypatch.setattr(f"{sdk}._base_client.MAX_RETRY_DELAY", 0.002)


@pytest.fixture(autouse=True)
def _no_call_before() -> Iterator[None]:
    """Leave no entry behind in the thread that runs all tests."""
    yield
    current_entry.set(None)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Any:
    """One of the twelve."""
    return request.param


def _some(fits: Callable[[Any], bool]) -> list[Any]:
    return [param for param in WAYS if fits(param.values[0])]


@pytest.fixture(params=_some(lambda way: way.stream))
def stream_way(request: pytest.FixtureRequest) -> Any:
    """One of the six that stream."""
    return request.param


@pytest.fixture(params=_some(lambda way: not way.asynchronous))
def sync_way(request: pytest.FixtureRequest) -> Any:
    """One of the six that need no event loop."""
    return request.param


@pytest.fixture(params=_some(lambda way: way.stream and not way.asynchronous))
def sync_stream_way(request: pytest.FixtureRequest) -> Any:
    """One of the three that stream without an event loop."""
    return request.param


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
def fake() -> FakeProvider:
    return FakeProvider(answer="one two three four five six")


@pytest.fixture
def way_of() -> Callable[..., Way]:
    """Make a way by name, where a test needs one in particular."""
    return Way


@pytest.fixture
def events_of(fake: FakeProvider) -> Callable[..., list[bytes]]:
    """Return the events, one bytes object each, that the fake streams for a question asked in some way."""

    def get(way: Way, **more: Any) -> list[bytes]:
        paths = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
        body = {**way.arguments(), "stream": True, **more}
        headers = {"authorization": "Bearer k", "x-api-key": "k"}
        if way.dialect == "messages":
            headers["anthropic-version"] = "2023-06-01"
        with httpx2.Client(transport=fake.transport()) as client:
            content = client.post("https://fake" + paths[way.dialect], json=body, headers=headers).content
        return [event + b"\n\n" for event in content.split(b"\n\n")[:-1]]

    return get


@pytest.fixture
def pieces_of() -> Callable[..., Any]:
    """Make a transport that answers with the given pieces, noting in `log` when each left."""

    def make(way: Way, pieces: list[Any], log: list[str], *, kind: str | None = None, close_error: Any = None) -> Any:
        kind = kind or ("text/event-stream" if way.stream else "application/json")

        def answer(request: httpx2.Request) -> httpx2.Response:
            log.append("request")
            stream: Any = (AsyncPieces if way.asynchronous else SyncPieces)(list(pieces), log, close_error)
            return httpx2.Response(200, headers={"content-type": kind}, stream=stream, request=request)

        return httpx2.MockTransport(answer)

    return make


@dataclass
class Said:
    """What a llama-server answers: pieces of text (an exception ends the connection), or a status and a body."""

    pieces: list[Any] = field(default_factory=lambda: ["one ", "two ", "three"])
    finish: str = "stop"
    status: int = 200
    body: Any = None
    delta: dict[str, Any] | None = None
    dies: bool = False
    top: dict[str, Any] = field(default_factory=dict)


class Llama:
    """A llama-server as measured on xllamacpp 2026.10: chat with timings, /props, a prompt's tokens."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.said: list[Said] = []
        self.knows_tools = False
        self.usage = {
            "completion_tokens": 3,
            "prompt_tokens": 9,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 4},
        }

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was asked, in order."""
        return [body for path, body, _ in self.asked if path != "/props"]

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, str, list[Any]]:
        """Return the status, the type and the pieces of an answer; an exception among them ends the connection."""
        if path == "/props":
            caps = {"supports_tools": self.knows_tools, "supports_tool_calls": self.knows_tools}
            return 200, "application/json", [json.dumps({"chat_template_caps": caps}).encode()]
        if path.endswith("_tokens"):
            return 200, "application/json", [b'{"input_tokens":37,"object":"response.input_tokens"}']
        said = self.said.pop(0) if self.said else Said()
        if said.dies:
            return 200, "", [OSError()]
        if said.status != 200:
            return said.status, "application/json", [json.dumps(said.body).encode()]
        top = {"id": "chatcmpl-1", "created": 1, "model": body["model"], "system_fingerprint": "b0"}
        timings = {"timings": {"cache_n": 4, "prompt_n": 5, "predicted_n": 1}}
        if body.get("stream"):
            return 200, "text/event-stream", self._stream(said, top, timings, body)
        text = "".join(piece for piece in said.pieces if isinstance(piece, str))
        message = {"role": "assistant", "content": text, **(said.delta or {})}
        choices = [{"index": at, "message": message, "finish_reason": said.finish} for at in range(body.get("n") or 1)]
        whole = {**top, "object": "chat.completion", "choices": choices, "usage": self.usage, **timings, **said.top}
        broken = [piece for piece in said.pieces if isinstance(piece, Exception)]
        return 200, "application/json", broken or [json.dumps(whole).encode()]

    def _stream(self, said: Said, top: dict[str, Any], timings: dict[str, Any], body: dict[str, Any]) -> list[Any]:
        top = {**top, "object": "chat.completion.chunk"}
        per_token = timings if body.get("timings_per_token") else {}
        deltas = [{"role": "assistant", "content": None}, *([said.delta] if said.delta else [])]
        chunks: list[Any] = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], **top} for delta in deltas
        ]
        for piece in said.pieces:
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            chunks.append(piece if isinstance(piece, Exception) else {"choices": [choice], **top, **per_token})
        last = {"index": 0, "delta": {}, "finish_reason": said.finish}
        chunks.append({"choices": [last], **top, **timings, **said.top})
        if (body.get("stream_options") or {}).get("include_usage"):
            chunks.append({"choices": [], **top, "usage": self.usage, **timings})
        events = [
            chunk if isinstance(chunk, Exception) else f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks
        ]
        return [*events, b"data: [DONE]\n\n"]


@pytest.fixture
def llama() -> Iterator[Llama]:
    """Serve as a llama-server does, on a real socket of this machine."""
    stand_in = Llama()

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
            headers = {name.lower(): value for name, value in self.headers.items()}
            stand_in.asked.append((self.path, body, headers))
            status, kind, pieces = stand_in.answer(self.path, body)
            self.close_connection = True
            if pieces and isinstance(pieces[0], Exception):
                return
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                if isinstance(piece, Exception):
                    return
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        stand_in.url = f"http://127.0.0.1:{served.server_port}"
        yield stand_in
        served.shutdown()
        thread.join()


@pytest.fixture
def said() -> type[Said]:
    """Make what the stand-in for llama-server answers."""
    return Said


class LocalTier:
    """Stands where the local models' servers are started; ``endpoints`` are handed out in turn, the last for ever."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.endpoints = list(endpoints)
        self.asked: list[str] = []
        self.failures: list[Endpoint] = []
        self.running = 0
        self.ended = 0

    def endpoint(self, name: str) -> Endpoint:
        self.asked.append(name)
        if name == "missing":
            raise LocalModelError("local/missing: there is no such model")
        return self.endpoints.pop(0) if len(self.endpoints) > 1 else self.endpoints[0]

    def failed(self, endpoint: Endpoint) -> None:
        self.failures.append(endpoint)

    def use(self, endpoint: Endpoint) -> LocalUse:  # noqa: ARG002 - the real one's signature
        self.running += 1
        return LocalUse(self)

    def usage(self) -> list[Any]:
        return []

    def close(self) -> None:
        """Close nothing."""


class LocalUse:
    """One call under way on the stand-in."""

    def __init__(self, tier: LocalTier) -> None:
        self._tier = tier
        self._ended = False

    def end(self) -> Share:
        if not self._ended:
            self._ended = True
            self._tier.running -= 1
            self._tier.ended += 1
        return Share(0.25)


@pytest.fixture
def tier_of() -> Callable[..., Any]:
    """Make a Saver whose local models answer at the given endpoints."""

    def make(*endpoints: Endpoint, **options: Any) -> Any:
        saver = Saver(**options)
        saver._local = LocalTier(*endpoints)  # type: ignore[assignment]  # a stand-in
        return saver

    return make
