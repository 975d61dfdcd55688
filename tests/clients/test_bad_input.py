"""Bodies that make no sense, bodies that are huge, and clocks that lie: untouched or told clearly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

import llmsaver
from llmsaver import MiddlewareError, Request, Response, Saver
from llmsaver.clients.upstream import json_bytes
from llmsaver.testing import Answer, Delivery, FakeProvider, Fault

if TYPE_CHECKING:
    from llmsaver import CallNext

MODEL = "gpt-4o-mini"
HI: list[Any] = [{"role": "user", "content": "hi"}]
VENDOR, OTHER = "https://api.openai.com/v1", "https://gateway.example/v1"


def client_of(fake: FakeProvider, saver: Saver | None = None, **options: Any) -> llmsaver.OpenAI:
    given = {"api_key": "k", "max_retries": 0, "base_url": VENDOR, **options}
    return llmsaver.OpenAI(saver=saver or Saver(), http_client=httpx2.Client(transport=fake.transport()), **given)


def post(fake: Any, body: bytes, saver: Saver | None = None, *, path: str = "/v1/chat/completions") -> Any:
    """Send a body as it is through our HTTP client."""
    saver = saver or Saver()
    headers = {"authorization": "Bearer k", "content-type": "application/json"}
    transport = fake if isinstance(fake, httpx2.MockTransport) else fake.transport()
    with llmsaver.http_client(saver=saver, transport=transport) as http:
        return http.post("https://api.openai.com" + path, content=body, headers=headers)


def deep(levels: int) -> bytes:
    return b'{"model":"m","messages":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"NaN",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"model":"\xff"}',
        b'{"model":5,"messages":7}',
        b'{"model":null}',
        b'{"model":"m","messages":[],"n":NaN}',
        b'{"a":' + b"9" * 5000 + b"}",
        deep(100_000),
        deep(300),
        '{"model":"m"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"model":"m"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_bodies_that_make_no_sense_pass_untouched(body: bytes) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/unknown"):
        got: list[bytes] = []

        def answer(request: httpx2.Request, got: list[bytes] = got) -> httpx2.Response:
            got.append(request.content)
            return httpx2.Response(418)

        assert post(httpx2.MockTransport(answer), body, path=path).status_code == 418
        assert got == [body]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e400", '"\\ud800"', "1234567890123456789012345678901234567890"])
def test_values_at_the_edge_survive_rewriting(value: str) -> None:
    async def rewrites(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.with_body(seed=1))

    fake = FakeProvider()
    body = f'{{"model":"m","messages":[{{"role":"user","content":"x"}}],"user":{value}}}'.encode()
    post(fake, body, Saver(stack=[rewrites]))
    assert fake.requests[0].json["seed"] == 1
    assert repr(fake.requests[0].json["user"]) == repr(json.loads(value))


@pytest.mark.parametrize("bad", [object(), {1, 2}, b"bytes"])
def test_a_layer_that_puts_no_json_into_a_body_is_told(bad: Any) -> None:
    async def spoils(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.with_body(user=bad))

    fake = FakeProvider()
    with pytest.raises(MiddlewareError, match="cannot be written as JSON: TypeError") as raised:
        client_of(fake, Saver(stack=[spoils]), max_retries=2).chat.completions.create(model=MODEL, messages=HI)
    assert isinstance(raised.value, openai.OpenAIError)
    assert fake.calls == 0


def test_json_is_written_as_the_sdks_write_it() -> None:
    assert json_bytes({"a": ["ü", 1.5, None, True]}) == '{"a":["ü",1.5,null,true]}'.encode()
    assert json_bytes({"a": "\ud800ü"}) == b'{"a":"\\ud800\\u00fc"}'


ANSWERS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"choices":',
    b'{"choices":7,"usage":"many"}',
    b'{"usage":{"prompt_tokens":-1,"completion_tokens":1e99}}',
    b'{"usage":{"prompt_tokens":true,"completion_tokens":null}}',
    b'{"a":"\\ud800"}',
    b"<html>busy</html>",
    b'{"a":NaN}',
]


@pytest.mark.parametrize("annotate", [False, True])
@pytest.mark.parametrize("body", ANSWERS, ids=repr)
@pytest.mark.parametrize("kind", ["application/json", "text/html", "text/event-stream"])
@pytest.mark.parametrize("stream", [False, True])
def test_answers_that_make_no_sense_come_back_as_without_us(
    body: bytes, kind: str, stream: bool, annotate: bool
) -> None:
    def run(client_kind: Any, **options: Any) -> Any:
        fake = FakeProvider(answer=Fault(body=body, content_type=kind))
        http = httpx2.Client(transport=fake.transport())
        client = client_kind(api_key="k", max_retries=0, http_client=http, base_url=OTHER, **options)
        try:
            got = client.chat.completions.create(model=MODEL, messages=HI, stream=stream)
            return repr(list(got) if stream else got)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            return type(error), str(error)

    saver = Saver()
    ours, theirs = run(llmsaver.OpenAI, saver=saver, annotate=annotate), run(openai.OpenAI)
    if annotate and not stream and isinstance(ours, str) and "llmsaver" in ours:
        ours = ours[: ours.index(", llmsaver={")] + theirs[theirs.rindex(")") :] if theirs != ours else ours
    if not annotate:
        assert ours == theirs
    else:
        assert type(ours) is type(theirs)
    assert saver.last is not None
    if not (body.startswith(b"{") and json_or_none(body) is not None) or kind == "text/event-stream":
        assert saver.last.complete is False
    assert saver.last.usage is None


def json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


@pytest.mark.parametrize("stream", [False, True])
def test_huge_bodies_both_ways(stream: bool) -> None:
    text = "word " * 4_000_000
    fake = FakeProvider(answer=Answer("ok"))
    saver = Saver()
    client = client_of(fake, saver, annotate=True)
    got: Any = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], stream=stream)
    assert not stream or list(got)
    assert len(fake.requests[0].body) > 20_000_000
    piece = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    event = piece + b'{"content":"%b"},"finish_reason":null}]}\n\n' % (b"x" * 20_000_000)
    whole = (
        b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    )
    answer = whole + b'"message":{"role":"assistant","content":"%b"}}]}' % (b"x" * 20_000_000)
    body, kind = (event + b"data: [DONE]\n\n", "text/event-stream") if stream else (answer, "application/json")
    fake = FakeProvider(answer=Fault(body=body, content_type=kind, delivery=Delivery(chunking=65536)))
    got = client_of(fake, saver, annotate=True).chat.completions.create(model=MODEL, messages=HI, stream=stream)
    content = "".join(c.choices[0].delta.content or "" for c in got) if stream else got.choices[0].message.content
    assert len(content) == 20_000_000
    assert saver.last is not None
    assert saver.last.complete


def test_a_clock_that_goes_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(10_000_000, 0, -1000))
    monkeypatch.setattr("time.time", lambda: float(next(times)))
    fake, saver = FakeProvider(answer="hello"), Saver()
    client = client_of(fake, saver)
    list(client.chat.completions.create(model=MODEL, messages=HI, stream=True))
    entry = saver.last
    assert entry is not None
    assert entry.latency_s is not None
    assert 0 <= entry.latency_s < 60
    assert entry.first_byte_s is not None
    assert 0 <= entry.first_byte_s <= entry.latency_s


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


STREAMS: dict[str, Any] = {
    "as sent": lambda events: events,
    "in one piece": lambda events: [b"".join(events)],
    "byte by byte": lambda events: cut(b"".join(events), 1),
    "in sevens": lambda events: cut(b"".join(events), 7),
    "with CRLF": lambda events: cut(b"".join(events).replace(b"\n", b"\r\n"), 5),
    "with comments": lambda events: [part for event in events for part in (b": ping\n\n", event)],
    "with an odd field": lambda events: [b"id: 7\nretry: 5\n" + event for event in events],
    "with a blank start": lambda events: [b"\n\n\n", *events],
    "cut in an event": lambda events: [*events[:-2], events[-2][:20]],
    "without the last blank line": lambda events: [*events[:-1], events[-1].rstrip(b"\n")],
    "without an end": lambda events: events[:-1],
    "twice": lambda events: [*events, *events],
    "with garbage": lambda events: [events[0], b"\x00\xff\xfe garbage\n\n", *events[1:]],
    "with broken JSON": lambda events: [events[0], b"data: {\n\n", *events[1:]],
    "with an array": lambda events: [events[0], b"data: []\n\n", *events[1:]],
    "with an empty object": lambda events: [events[0], b"data: {}\n\n", *events[1:]],
    "with invalid UTF-8": lambda events: [events[0], b'data: {"a":"\xff"}\n\n', *events[1:]],
    "with empty data": lambda events: [events[0], b"data:\n\n", *events[1:]],
    "with an error": lambda events: [events[0], b'event: error\ndata: {"error":{"message":"no"}}\n\n', *events[1:]],
    "over two lines": lambda events: [event.replace(b"data: {", b"data: {\ndata: ", 1) for event in events],
    "empty": lambda _: [],
    "blank": lambda _: [b"\n"],
    "more after the end": lambda events: [*events, b"data: after\n\n"],
    "huge": lambda events: [events[0], b": " + b"x" * 2_000_000 + b"\n\n", *events[1:]],
}


@pytest.mark.parametrize("how", STREAMS)
def test_streams_that_make_no_sense_come_back_as_without_us(
    stream_way: Any, caller: Any, pieces_of: Any, events_of: Any, how: str
) -> None:
    way, pieces = stream_way, STREAMS[how](events_of(stream_way))

    def outcome(**options: Any) -> Any:
        got: list[Any] = []
        try:
            caller.drain(way, caller.client(way, pieces_of(way, pieces, []), **options), got.append)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            return [repr(value) for value in got], type(error), str(error)
        return [repr(value) for value in got], None, ""

    caller.saver = Saver()
    expected = outcome(bare=True)
    assert outcome() == expected
    values, error, said = outcome(annotate=True)
    assert (len(values), error) == (len(expected[0]), expected[1])
    assert error is None or "llmsaver" in said or said == expected[2]
