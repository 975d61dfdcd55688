"""The fake provider: both vendors' APIs in one object, reachable as a transport or over a real socket."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

from llmsaver.testing.answer import Answer, Chunking, Delivery, Fault, Responder, Scripted
from llmsaver.testing.batch_troubles import BatchTroubles
from llmsaver.testing.books import Bill, Books, Received
from llmsaver.testing.endpoints import ENDPOINTS, Endpoints, no_such_url
from llmsaver.testing.reply import Reply
from llmsaver.testing.routing import Route, route
from llmsaver.testing.server import loopback
from llmsaver.testing.serving import DIALECTS, plain_fault, refusal, serve
from llmsaver.testing.transports import async_transport, sync_transport
from llmsaver.testing.validation import PARAMETERS, refuse_body, refuse_caller


class FakeProvider:
    """OpenAI and Anthropic on your machine: real wire format, scripted answers and faults, its own books.

    `answer` is what it says when no script is left: a text, an `Answer`, a `Fault`, or a function of the `Received`
    request that returns one of them; by default it repeats the last user text. The other arguments are those of
    `Delivery`, and `polls`: how often a batch or a background response is still in progress when asked for, and
    `troubles`: what goes wrong with batches.
    """

    def __init__(  # noqa: PLR0913 - all that may be set of a fake, by keyword
        self,
        answer: Scripted | Responder | None = None,
        *,
        chunking: Chunking = "event",
        newline: Literal["\n", "\r\n"] = "\n",
        comments: bool = False,
        gzip: bool = False,
        delay: float = 0.0,
        pause: float = 0.0,
        polls: int = 1,
        troubles: BatchTroubles | None = None,
    ) -> None:
        self.answer = Answer() if answer is None else answer
        self.delivery = Delivery(chunking, newline, comments, gzip, delay, pause)
        self._books = Books()
        self._endpoints = Endpoints(polls, self._next, self._books.charge, troubles)
        self._script: deque[Scripted] = deque()
        self._faults: dict[str, deque[Fault]] = {name: deque() for name in ENDPOINTS}
        self._lock = threading.Lock()

    def script(self, replies: Iterable[Scripted]) -> None:
        """Queue replies to chat, responses and messages requests and to lines of batches, used in order."""
        with self._lock:
            self._script.extend(replies)

    def fail(self, endpoint: str, faults: Iterable[Fault]) -> None:
        """Queue faults for another endpoint: one of `llmsaver.testing.endpoints.ENDPOINTS`."""
        if endpoint not in self._faults:
            raise ValueError(f"{endpoint!r} is not one of {', '.join(self._faults)}; use script() for the others.")
        with self._lock:
            self._faults[endpoint].extend(faults)

    @property
    def requests(self) -> tuple[Received, ...]:
        """Every request received, in order."""
        return self._books.requests

    @property
    def calls(self) -> int:
        """How many requests were received."""
        return len(self._books.requests)

    @property
    def billed(self) -> tuple[Bill, ...]:
        """What was charged, in order: answers, batch lines and embeddings; refused requests are not."""
        return self._books.bills

    def transport(self, module: str = "httpx2") -> Any:
        """Make a `BaseTransport` of httpx2 or httpx for a synchronous client."""
        return sync_transport(module, self.receive)

    def async_transport(self, module: str = "httpx2") -> Any:
        """Make an `AsyncBaseTransport` of httpx2 or httpx for an asynchronous client."""
        return async_transport(module, self.receive)

    def serve(self) -> AbstractContextManager[str]:
        """Listen on a free port of 127.0.0.1 and give the base URL, which suits both vendors' SDKs."""
        return loopback(self.receive)

    def receive(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Record one request and decide the reply; what both transports and the server call."""
        lowered = {name.lower(): value for name, value in headers.items()}
        way = route(method, url, lowered)
        number = self._books.take_number()
        try:
            parsed = json.loads(body) if body else None
        except ValueError:
            parsed = None
        received = Received(
            number, method, url, way.path, lowered, body, parsed, way.endpoint, way.vendor, at=time.time()
        )
        self._books.enter(received)
        reply = self._reply(received, way)
        if reply.bill is not None:
            self._books.charge(reply.bill)
        return reply.prepared(accepts_gzip="gzip" in lowered.get("accept-encoding", ""))

    def _reply(self, received: Received, way: Route) -> Reply:
        if way.endpoint == "unknown":
            return refusal(received, no_such_url(received), self.delivery)
        refused = refuse_caller(way.vendor, received.headers)
        if refused is None and way.endpoint in PARAMETERS:
            refused = refuse_body(way.endpoint, received.json, beta=way.beta, model_in_path=way.deployment)
        if refused is not None:
            return refusal(received, refused, self.delivery)
        if way.endpoint == "responses":
            return self._endpoints.stored.create(received, self._next(received), self.delivery)
        if way.endpoint in DIALECTS:
            return serve(received, self._next(received), self.delivery)
        with self._lock:
            queue = self._faults[way.endpoint]
            fault = queue.popleft() if queue else None
        if fault is not None:
            return plain_fault(received, fault, fault.delivery or self.delivery)
        return self._endpoints.reply(received, way, self.delivery)

    def _next(self, received: Received) -> Scripted:
        with self._lock:
            if self._script:
                return self._script.popleft()
        return self.answer(received) if callable(self.answer) else self.answer
