"""The responses dialect: usage, three ends and the note."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.core.usage import Usage
from llmsaver.wire import DIALECTS
from llmsaver.wire.responses import responses_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    import openai

RESPONSES = DIALECTS["responses"]
USAGE = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
RESPONSE: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "completed", "output": [], "usage": USAGE}


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


def test_usage_takes_the_parts_out_of_the_totals() -> None:
    raw = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 150,
    }
    usage = responses_usage(raw)
    assert usage == Usage(100, 50, cache_read_tokens=60, cache_write_tokens=10, reasoning_tokens=20, raw=raw)
    assert responses_usage({**raw, "input_tokens_details": None, "output_tokens_details": None}) is not None
    assert responses_usage({**raw, "output_tokens": None}) is None


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("kind", "finished"), [("response.completed", True), ("response.incomplete", True), ("response.failed", False)]
)
def test_ends(kind: str, finished: bool, named: bool) -> None:
    end = event(kind, sequence_number=3, response=RESPONSE)
    if not named:
        end = end.split(b"\n", 1)[1]
    meter = RESPONSES.meter(streamed=True)
    meter.feed(event("response.created", response={**RESPONSE, "status": "in_progress", "usage": None}))
    assert meter.usage() is None
    assert meter.feed(end) is True
    assert meter.finished is finished
    assert meter.message() == RESPONSE
    # A failed response was paid for too.
    assert meter.usage() == Usage(5, 2, raw=USAGE)


@pytest.mark.parametrize(
    "last",
    [
        event("error", code="x", message="m", param=None, sequence_number=2),
        b'data: {"type":"error","message":"m"}\n\n',
        b'data: {"error":{"message":"m"}}\n\n',
        b"data: [DONE]\n\n",
    ],
)
def test_what_ends_without_an_answer(last: bytes) -> None:
    meter = RESPONSES.meter(streamed=True)
    assert meter.feed(event("response.created", response={**RESPONSE, "error": None})) is False
    assert meter.feed(last) is True
    assert meter.finished is False


def test_text_that_looks_like_the_end_is_text() -> None:
    meter = RESPONSES.meter(streamed=True)
    for text in ("response.completed", '{"type":"response.completed"}', "error", "[DONE]"):
        assert meter.feed(event("response.output_text.delta", delta=text)) is False
    assert meter.feed(event("response.output_item.added", item={"error": "response.failed"}, error={})) is False
    assert meter.finished is False


class TestNote:
    @pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
    def test_the_last_response_carries_it(self, kind: str) -> None:
        shaper = RESPONSES.shaper(hide_usage=False, note=lambda: {"a": 1})
        same = [
            event("response.created", response=RESPONSE),
            event("response.output_text.delta", delta="response.completed"),
            event("response.odd", response={"kind": kind}),
            event("error", message=kind),
        ]
        assert [shaper.feed(e) for e in same] == same
        end = event(kind, response={**RESPONSE, "tools": [{"}": "{"}]}, sequence_number=9)
        out = shaper.feed(end)
        assert out.replace(b', "llmsaver": {"a": 1}', b"") == end
        assert json.loads(out.split(b"data: ")[1])["response"]["llmsaver"] == {"a": 1}
        assert shaper.flush() == b""

    def test_the_sdk_shows_it(self, openai_sdk: Callable[..., openai.OpenAI]) -> None:
        shaper = RESPONSES.shaper(hide_usage=False, note=lambda: {"entry": "e1"})
        body = b"".join(shaper.feed(e) for e in RESPONSES.replay(RESPONSE, {})) + shaper.flush()
        with openai_sdk(body).responses.stream(model="m", input="x") as stream:
            assert stream.get_final_response().to_dict()["llmsaver"] == {"entry": "e1"}
