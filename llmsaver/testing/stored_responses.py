"""Responses that are kept: fetched again, followed as a stream, or run in the background until they have ended."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from llmsaver.testing import responses
from llmsaver.testing.answer import Answer, Delivery, Fault, Scripted
from llmsaver.testing.books import Bill, Received
from llmsaver.testing.frames import sse
from llmsaver.testing.reply import Reply
from llmsaver.testing.routing import Route
from llmsaver.testing.serving import SSE_TYPE, refusal, serve, whole
from llmsaver.testing.text import JSON, dumps
from llmsaver.testing.turn import Turn, settle
from llmsaver.testing.vendor_errors import Refused, vendor_headers


@dataclass(slots=True)
class Kept:
    """A response and its state; `bill` is what is charged once it has run to its end, None where it was."""

    turn: Turn
    status: str
    polls: int
    bill: Bill | None = None


@dataclass(slots=True)
class StoredResponses:
    """`POST /responses`, `GET /responses/{id}` and its `/cancel`.

    `polls` is how often a background run is still under way when asked for. It is charged in full when it ends, whoever
    is still listening, and not at all where it is cancelled before.
    """

    polls: int
    charge: Callable[[Bill], None]
    _kept: dict[str, Kept] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, received: Received, scripted: Scripted, delivery: Delivery) -> Reply:
        """Answer a request and keep the answer, unless it fails or was not to be stored."""
        reply = serve(received, scripted, delivery)
        if isinstance(scripted, Fault) or received.json.get("store") is False:
            return reply
        turn = settle("responses", received.number, received.json, _answer(scripted))
        kept = Kept(turn, "ended", 0)
        with self._lock:
            self._kept[responses.body(turn)["id"]] = kept
        if received.json.get("background") is not True or reply.bill is None:
            return reply
        bill, reply.bill = reply.bill, None
        bill.streamed, bill.state = False, "complete"
        if received.stream:
            self.charge(bill)
            return reply
        kept.status, kept.polls, kept.bill = "queued", self.polls, bill
        return whole(received, dumps(_unfinished(kept)), delivery)

    def reply(self, received: Received, way: Route, delivery: Delivery) -> Reply:
        """Tell how a response is getting on; a stream follows it to its end, after `starting_after`."""
        with self._lock:
            kept = self._kept.get(way.id)
            if kept is None:
                return refusal(received, Refused(404, f"Response with id '{way.id}' not found."), delivery)
            asked = parse_qs(urlsplit(received.url).query)
            if way.action == "cancel":
                return self._cancel(received, kept, delivery)
            if asked.get("stream") == ["true"]:
                self._end(kept)
                return _events(received, kept, int(asked.get("starting_after", ["-1"])[0]), delivery)
            if kept.status in ("queued", "in_progress"):
                kept.status = "in_progress"
                if kept.polls <= 0:
                    self._end(kept)
                kept.polls -= 1
            return whole(received, dumps(_shown(kept)), delivery)

    def _cancel(self, received: Received, kept: Kept, delivery: Delivery) -> Reply:
        if kept.turn.request.get("background") is not True:
            return refusal(received, Refused(400, "Cannot cancel a synchronous response."), delivery)
        if kept.status != "ended":
            kept.status, kept.bill = "cancelled", None
        return whole(received, dumps(_shown(kept)), delivery)

    def _end(self, kept: Kept) -> None:
        bill, kept.bill = kept.bill, None
        if kept.status != "cancelled":
            kept.status = "ended"
        if bill is not None:
            self.charge(bill)


def _answer(scripted: Any) -> Answer:
    return Answer(scripted) if isinstance(scripted, str) else scripted


def _shown(kept: Kept) -> JSON:
    return responses.body(kept.turn) if kept.status == "ended" else _unfinished(kept)


def _unfinished(kept: Kept) -> JSON:
    nothing: JSON = {"output": [], "usage": None, "error": None, "incomplete_details": None}
    return {**responses.body(kept.turn), **nothing, "status": kept.status}


def _events(received: Received, kept: Kept, after: int, delivery: Delivery) -> Reply:
    events = responses.events(kept.turn)[after + 1 :]  # numbered from 0
    headers = vendor_headers(received.vendor, received.number, SSE_TYPE)
    return Reply(200, headers, sse(events, delivery), delivery, streamed=True)
