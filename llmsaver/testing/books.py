"""The fake's own books: every request it received and what it would charge, for tests to compare with ours."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_INPUT_FIELDS = {
    "chat": ("prompt_tokens",),
    "responses": ("input_tokens",),
    "messages": ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    "embeddings": ("prompt_tokens",),
}
_OUTPUT_FIELDS = {"chat": "completion_tokens", "responses": "output_tokens", "messages": "output_tokens"}


@dataclass(frozen=True, slots=True)
class Received:
    """One HTTP request as it arrived; header names are lower-case and `json` is None when the body was not JSON.

    `endpoint` is one of chat, responses, messages, stored_responses, count_tokens, embeddings, files, batches,
    message_batches, models and unknown; `at` is `time.time()`, and `number` counts from 0 in order of arrival.
    """

    number: int
    method: str
    url: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    json: Any
    endpoint: str
    vendor: Literal["openai", "anthropic"]
    at: float

    @property
    def stream(self) -> bool:
        """Whether the caller asked for server-sent events."""
        return isinstance(self.json, dict) and self.json.get("stream") is True


@dataclass(slots=True)
class Bill:
    """What one answer costs the caller, whether or not the caller saw it.

    `usage` is the vendor's object (None: it has none), also when the caller did not get or ask for it. `visible` tokens
    were to leave with the answer, `delivered` of them did. A stream the client abandons is charged its input, its
    hidden tokens and what was delivered; all else in full. `counted` is the fake's own count of input and output.
    """

    number: int
    dialect: str
    model: str
    usage: Mapping[str, Any] | None
    streamed: bool
    counted: tuple[int, int]
    visible: int = 0
    delivered: int = 0
    batch: bool = False
    state: Literal["open", "complete", "aborted"] = "open"

    @property
    def input_tokens(self) -> int:
        """Input tokens charged, cached ones included; the fake's own count where usage was not reported."""
        if self.usage is None:
            return self.counted[0]
        return sum(_whole(self.usage.get(name)) for name in _INPUT_FIELDS[self.dialect])

    @property
    def output_tokens(self) -> int:
        """Output tokens charged, hidden ones included."""
        name = _OUTPUT_FIELDS.get(self.dialect)
        total = self.counted[1] if self.usage is None else _whole(self.usage.get(name)) if name else 0
        if not self.streamed or self.state != "aborted":
            return total
        # What a messages stream says at its start is one token of output already.
        told = min(1, total) if self.dialect == "messages" else 0
        return max(total - (self.visible - self.delivered), min(self.delivered, total), told)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


@dataclass(slots=True)
class Books:
    """Requests and bills in order, safe to use from many threads."""

    _requests: list[Received] = field(default_factory=list)
    _bills: list[Bill] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: int = 0

    def take_number(self) -> int:
        """Reserve the next request's number."""
        with self._lock:
            self._numbers += 1
            return self._numbers - 1

    def enter(self, received: Received) -> None:
        """Record a request."""
        with self._lock:
            self._requests.append(received)

    def charge(self, bill: Bill) -> None:
        """Record a bill; it stays open until its answer is delivered or abandoned."""
        with self._lock:
            self._bills.append(bill)

    @property
    def requests(self) -> tuple[Received, ...]:
        """All requests so far, in order of arrival."""
        with self._lock:
            return tuple(sorted(self._requests, key=lambda received: received.number))

    @property
    def bills(self) -> tuple[Bill, ...]:
        """All bills so far, in order of their answers."""
        with self._lock:
            return tuple(self._bills)
