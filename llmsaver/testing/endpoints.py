"""The endpoints that generate nothing: token counts, embeddings, kept responses, files, batches and models."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from llmsaver.testing import embeddings
from llmsaver.testing.answer import Delivery, Fault, Scripted
from llmsaver.testing.batch_troubles import BatchTroubles
from llmsaver.testing.batches import OpenAIBatches
from llmsaver.testing.books import Bill, Received
from llmsaver.testing.message_batches import MessageBatches
from llmsaver.testing.reply import Reply
from llmsaver.testing.routing import Route
from llmsaver.testing.serving import line, plain_fault, refusal, whole
from llmsaver.testing.stored_responses import StoredResponses
from llmsaver.testing.text import JSON, dumps
from llmsaver.testing.turn import input_tokens
from llmsaver.testing.validation import refuse_body
from llmsaver.testing.vendor_errors import Refused, request_id

ENDPOINTS = ("count_tokens", "embeddings", "stored_responses", "files", "batches", "message_batches", "models")
_MODELS = {
    "openai": ("gpt-4o", "gpt-4o-mini", "gpt-5.4", "o3-mini", "text-embedding-3-small"),
    "anthropic": ("claude-opus-4-7", "claude-sonnet-4-5", "claude-haiku-4-5"),
}
_OF_BATCHES = frozenset({"files", "batches", "message_batches"})
_OVERLOADED = {"openai": 503, "anthropic": 529}
_PAGE = 20
_LINE = 1_000_000
_LAUNCHED = 1_727_346_142


class Endpoints:
    """Serves them; `next_scripted` says what the lines of a batch are answered with, `charge` takes their bills."""

    def __init__(
        self,
        polls: int,
        next_scripted: Callable[[Received], Scripted],
        charge: Callable[[Bill], None],
        troubles: BatchTroubles | None = None,
    ) -> None:
        self._troubles = troubles
        self._batches = OpenAIBatches(polls, troubles)
        self._message_batches = MessageBatches(polls, troubles)
        self.stored = StoredResponses(polls, charge)
        self._next_scripted = next_scripted
        self._charge = charge
        self._lines = itertools.count(1)

    def reply(self, received: Received, way: Route, delivery: Delivery) -> Reply:
        """Answer one request to one of these endpoints."""
        if way.endpoint == "stored_responses":
            return self.stored.reply(received, way, delivery)
        made = self._answer(received, way) if way.endpoint not in _OF_BATCHES else self._troubled(received, way)
        if isinstance(made, Fault):
            return plain_fault(received, made, delivery)
        if isinstance(made, Refused):
            return refusal(received, made, delivery)
        if isinstance(made, bytes):
            kind = "application/octet-stream" if way.vendor == "openai" else "application/x-jsonl"
            return whole(received, made, delivery, content_type=kind)
        reply = whole(received, dumps(made), delivery)
        if way.endpoint == "embeddings":
            reply.bill = _embedded(received, made)
        return reply

    def _troubled(self, received: Received, way: Route) -> JSON | bytes | Refused | Fault:
        """Answer a request for a batch or a file, unless something goes wrong before or after."""
        troubles = self._troubles
        if troubles is None:
            return self._answer(received, way)
        if troubles.strikes("refused"):
            return Refused(_OVERLOADED[way.vendor])
        made = self._answer(received, way)
        if isinstance(made, bytes) and troubles.strikes("cut"):
            return Fault(body=made, after=len(made) // 2, drop="disconnect")
        begun = isinstance(made, dict) and received.method == "POST" and not way.id and way.endpoint != "files"
        return Refused(500) if begun and troubles.strikes("lost") else made

    def _answer(self, received: Received, way: Route) -> JSON | bytes | Refused:
        if way.endpoint == "count_tokens":
            return {"input_tokens": input_tokens(received.json)}
        if way.endpoint == "embeddings":
            return embeddings.body(received.json)
        if way.endpoint == "models":
            return _models(way)
        if way.endpoint == "files":
            return self._files(received, way)
        serve = self._openai_batches if way.endpoint == "batches" else self._anthropic_batches
        return serve(received, way)

    def _files(self, received: Received, way: Route) -> JSON | bytes | Refused:
        if way.action == "content":
            return self._batches.content(way.id)
        if way.id:
            return self._batches.file(way.id)
        return self._batches.upload(received.number, received.headers.get("content-type", ""), received.body)

    def _openai_batches(self, received: Received, way: Route) -> JSON | Refused:
        if way.action == "cancel":
            return self._batches.cancel(way.id)
        answer = partial(self._line, received)
        if way.id:
            return self._batches.retrieve(way.id, answer)
        if received.method == "GET":
            return self._batches.listed(*_page(received.url, "after"), answer)
        return self._batches.create(received.number, _object(received.json))

    def _anthropic_batches(self, received: Received, way: Route) -> JSON | bytes | Refused:
        if way.action == "results":
            return self._message_batches.results(way.id)
        if way.action == "cancel":
            return self._message_batches.cancel(way.id)
        answer = partial(self._line, received)
        if way.id:
            return self._message_batches.retrieve(way.id, answer)
        if received.method == "GET":
            return self._message_batches.listed(*_page(received.url, "after_id"), answer)
        parts = urlsplit(received.url)
        return self._message_batches.create(received.number, _object(received.json), f"{parts.scheme}://{parts.netloc}")

    def _line(self, received: Received, dialect: str, body: JSON) -> tuple[int, JSON] | None:
        """Answer one line of a batch as if it were a request, though it is not in the books as one."""
        if self._troubles is not None and self._troubles.strikes("late"):
            return None
        if self._troubles is not None and self._troubles.strikes("line"):
            broken = Refused(_OVERLOADED[received.vendor])
            return broken.status, broken.body(received.vendor, "", request_id(received.vendor, received.number))
        refused = refuse_body(dialect, body)
        if refused is not None:
            number = request_id(received.vendor, received.number)
            return refused.status, refused.body(received.vendor, str(body.get("model", "")), number)
        if dialect == "embeddings":
            made = embeddings.body(body)
            self._charge(replace(_embedded(received, made), batch=True, state="complete"))
            return 200, made
        asked = replace(received, method="POST", endpoint=dialect, json=body, body=dumps(body))
        seed = received.number + _LINE * next(self._lines)  # or all lines would have one id
        answered, bill = line(dialect, seed, body, self._next_scripted(asked))
        if bill is not None:
            bill.number = received.number
            self._charge(bill)
        return answered


def _page(url: str, name: str) -> tuple[int, str]:
    asked = parse_qs(urlsplit(url).query)
    return int(asked.get("limit", [str(_PAGE)])[0]), asked.get(name, [""])[0]


def no_such_url(received: Received) -> Refused:
    """Say what the vendor says about a URL it does not serve."""
    if received.vendor == "anthropic":
        return Refused(404, "Not found")
    return Refused(404, f"Invalid URL ({received.method} {received.path})")


def _embedded(received: Received, made: JSON) -> Bill:
    usage = made["usage"]
    counted = (usage["total_tokens"], 0)
    return Bill(received.number, "embeddings", made["model"], usage, streamed=False, counted=counted)


def _object(parsed: Any) -> JSON:
    # What is not an object lacks every required field, which is what the vendors then say.
    return parsed if isinstance(parsed, dict) else {}


def _models(way: Route) -> JSON | Refused:
    names = _MODELS[way.vendor]
    if way.id:
        return _model(way.vendor, way.id) if way.id in names else Refused(404, None, param="model")
    listed = [_model(way.vendor, name) for name in names]
    if way.vendor == "openai":
        return {"object": "list", "data": listed}
    return {"data": listed, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def _model(vendor: str, name: str) -> JSON:
    if vendor == "openai":
        return {"id": name, "object": "model", "created": _LAUNCHED, "owned_by": "system"}
    return {
        "type": "model",
        "id": name,
        "display_name": name.replace("-", " ").title(),
        "created_at": "2025-09-29T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }
