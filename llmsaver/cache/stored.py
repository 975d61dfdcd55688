"""One answer as it is kept, and as it is handed out again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmsaver.core.response import Response
from llmsaver.wire.replay import as_cached

if TYPE_CHECKING:
    from llmsaver.core.entry import Entry
    from llmsaver.core.usage import Usage

__all__ = ["Stored", "book_hit", "costs_of", "json_bytes", "respond", "told"]

# An entry from further in the future was written by a clock that has been set back since.
SKEW_SECONDS = 300.0
# What a row takes beside its answer, text and vector.
_ROW_BYTES = 400


def json_bytes(value: Any) -> bytes:
    """Return compact JSON in UTF-8; a lone surrogate, which has none, as an escape. Raises for what is no JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


@dataclass(slots=True)
class Stored:
    """An answer and what is known of it.

    ``body`` is the answer as one JSON object of its ``dialect``, as the provider gave it. Times are seconds since the
    epoch: from ``expires_at`` on it is stale, from ``drop_at`` on it is gone. ``cost_nano`` is what one hit saves, in
    nano-dollars, between ``cost_low`` and ``cost_high``; None where unknown. ``namespace``, ``text``, ``vector``,
    ``embedder`` and ``group`` are the semantic cache's; ``right`` and ``wrong`` what its audits found. ``seq`` grows
    with every write of a store.
    """

    key: str
    dialect: str
    body: bytes
    created_at: float
    expires_at: float
    drop_at: float = 0.0
    tenant: str | None = None
    feature: str = "default"
    model: str | None = None
    tags: tuple[str, ...] = ()
    cost_nano: int | None = None
    cost_low: int | None = None
    cost_high: int | None = None
    latency_s: float = 0.0
    namespace: str | None = None
    text: str | None = None
    vector: bytes | None = None
    embedder: str | None = None
    group: int | None = None
    hits: int = 0
    right: int = 0
    wrong: int = 0
    seq: int = 0
    _content: bytes | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.drop_at = max(self.drop_at, self.expires_at)

    @property
    def message(self) -> dict[str, Any]:
        """The answer, parsed anew each time."""
        message: dict[str, Any] = json.loads(self.body)
        return message

    @property
    def usage(self) -> dict[str, Any] | None:
        """What the provider reported when it made the answer."""
        usage = self.message.get("usage")
        return usage if isinstance(usage, dict) else None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return _ROW_BYTES + len(self.body) + 4 * len(self.text or "") + len(self.vector or b"")

    @property
    def content(self) -> bytes:
        """The answer as it is served: its usage shown as cached. Written once."""
        if self._content is None:
            self._content = json_bytes(as_cached(self.dialect, self.message))
        return self._content

    def live(self, now: float, *, stale: bool = False) -> bool:
        """Return whether it may be served at ``now``, or with ``stale`` while it is replaced."""
        return (self.drop_at if stale else self.expires_at) > now and self.created_at <= now + SKEW_SECONDS

    @property
    def digest(self) -> bytes:
        """A checksum of what must not have changed on the way through a store."""
        whole = blake2b(self.body, digest_size=8, person=b"llmsaver")
        whole.update(f"\0{self.key}\0{self.dialect}\0{self.tenant}".encode("utf-8", "replace"))
        return whole.digest()


class _Told:
    """The meter of an answer from a cache: it is whole, used what it is told it did, and is parsed for who asks."""

    __slots__ = ("_content", "_usage")
    finished = True

    def __init__(self, content: bytes, usage: Usage | None) -> None:
        self._content = content
        self._usage = usage

    def feed(self, chunk: bytes) -> bool:  # noqa: ARG002 - nothing has to be read to know it
        """Learn nothing."""
        return False

    def usage(self) -> Usage | None:
        """Return what was used upstream."""
        return self._usage

    def message(self) -> dict[str, Any]:
        """Return the answer."""
        message: dict[str, Any] = json.loads(self._content)
        return message

    facts = message


def respond(stored: Stored) -> Response:
    """Return the stored answer; a streaming caller gets it as events. Raises ``ValueError`` for one that is broken."""
    return told(stored.content)


def told(content: bytes, usage: Usage | None = None) -> Response:
    """Return an answer made of JSON; ``usage`` is what the part of it that is new used upstream."""
    return Response(200, {"content-type": "application/json"}, content=content, meter=_Told(content, usage))


def book_hit(entry: Entry, stored: Stored, kind: str) -> None:
    """Put a hit on the call's record: who answered, at no cost, and what it would have cost."""
    entry.hit_kind = kind
    entry.model = stored.model or entry.model
    if entry.cost_nano is None:  # an earlier try of the SDK's may have cost something
        entry.cost_nano = entry.cost_low = entry.cost_high = 0
    entry.baseline_nano = stored.cost_nano
    entry.baseline_low, entry.baseline_high = stored.cost_low, stored.cost_high


def costs_of(entry: Entry) -> tuple[int | None, int | None, int | None]:
    """Return what a repetition of a call saves and its bounds, in nano-dollars; None where that is unknown."""
    if entry.unpriced or entry.baseline_nano is None:
        return None, None, None
    return entry.baseline_nano, entry.baseline_low, entry.baseline_high
