"""What a test tells the fake to do: answer, fail, and how to put the bytes on the wire."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from llmsaver.testing.books import Received

Chunking: TypeAlias = Literal["event", "byte", "one"] | int | random.Random
"""Where a body is cut: after each SSE event, after each byte, never, every n bytes, or at random places."""

Drop: TypeAlias = Literal["connect", "connect timeout", "read timeout", "disconnect", "reset"]
"""How a connection fails; each is one exception class of httpx2 and httpx."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How bytes leave the fake.

    `newline` ends SSE lines, `comments` puts an SSE comment before each event, `gzip` compresses for a client that
    accepts it, `delay` is the wait before the headers and `pause` the wait before each chunk, in seconds.
    """

    chunking: Chunking = "event"
    newline: Literal["\n", "\r\n"] = "\n"
    comments: bool = False
    gzip: bool = False
    delay: float = 0.0
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the model asks for; `arguments` is an object, or a raw string when it must not be valid JSON."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says, in no dialect; the fake writes it in the dialect of the request.

    - `text`: a tuple gives one text per choice when the request asks for `n` of them.
    - `finish`: `stop`, `length`, `tool_calls`, `content_filter`, `refusal`, `failed` (responses only) or a stop reason
      of the messages dialect; by default it follows from the answer and the request's token limit, which cuts the text.
    - `usage`: the vendor's usage object, sent as it is; `"missing"` leaves it out; `"auto"` counts.
    - `logprobs`: None obeys the request, True and False do not, numbers are the log probabilities of the first tokens.
    - `extra`: merged into the top level of the answer (`service_tier`, `tool_usage`, `model`, ...).
    """

    text: str | tuple[str, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    refusal: str | None = None
    finish: str | None = None
    usage: Mapping[str, Any] | Literal["auto", "missing"] = "auto"
    logprobs: bool | tuple[float, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    delivery: Delivery | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure of the provider or of the wire.

    - `Fault(429, retry_after=2)`: the vendor's own error body and headers.
    - `Fault(529, after=3)`: a stream of `answer` whose fourth event is the vendor's error event; an ordinary 529 if the
      request does not stream.
    - `Fault(drop="disconnect")`: the connection fails before the headers; with `after`, that many events of `answer`
      arrive first, or bytes when the request does not stream.
    - `Fault(body=b"{", content_type="text/html")`: these bytes with this type, status 200 unless given.

    `message`, `code` and `headers` replace what the vendor would have said. Over a real socket, `connect` and
    `connect timeout` can only close the accepted connection, and `read timeout` stays silent until the client leaves.
    """

    status: int | None = None
    drop: Drop | None = None
    after: int | None = None
    retry_after: float | None = None
    message: str | None = None
    code: str | None = None
    body: bytes | None = None
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Answer = field(default_factory=Answer)
    delivery: Delivery | None = None

    def __post_init__(self) -> None:
        if self.status is None and self.drop is None and self.body is None:
            raise ValueError("A Fault needs a status, a drop or a body, e.g. Fault(429) or Fault(drop='disconnect').")


Scripted: TypeAlias = Answer | Fault | str
Responder: TypeAlias = Callable[[Received], Scripted]
