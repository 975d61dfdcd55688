"""What is written to the ledger, as plain values: a call, its attempts, a task, an evaluation."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from llmsaver.core.shapes import shapes_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.core.entry import Attempt, Entry

__all__ = ["ATTEMPT_COLUMNS", "CALL_COLUMNS", "AttemptRow", "CallRow", "EvaluationRow", "TaskRow", "tamed"]

BIGGEST = 2**62


@dataclass(slots=True)
class AttemptRow:
    """One request that left for an upstream. Money in nano-dollars, None where unknown; ``latency_ms`` milliseconds."""

    upstream: str | None = None
    model: str | None = None
    tier: str | None = None
    status: int | None = None
    error: str | None = None
    latency_ms: float | None = None
    cost_nano: int | None = None
    cost_low: int | None = None
    cost_high: int | None = None
    estimated: bool = False

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptRow:
        """Return the row of an entry's attempt."""
        cost = attempt.cost
        return cls(
            upstream=attempt.upstream,
            model=attempt.model,
            tier=attempt.tier,
            status=attempt.status,
            error=attempt.error,
            latency_ms=None if attempt.latency_s is None else attempt.latency_s * 1e3,
            cost_nano=None if cost is None else cost.nano_usd,
            cost_low=None if cost is None else cost.low_nano,
            cost_high=None if cost is None else cost.high_nano,
            estimated=cost is not None and cost.estimated,
        )


@dataclass(slots=True)
class CallRow:
    """One call, however many attempts it took.

    ``started_at`` is seconds since the epoch; latencies are milliseconds; money is integer nano-dollars with None for
    unknown (``unpriced`` says why a cost is missing; ``cost_low`` and ``cost_high`` bound an estimate and default to
    the cost). ``feature`` is the innermost, ``feature_path`` all of them from the outermost. ``tokens`` holds every
    count by kind, as priced. ``busy_s`` is the time of a local server that was this call's, the two energies bound what
    that took in watt-hours; ``refused`` is how many calls that no budget had room for the row stands for; ``hit_kind``
    is "exact" or "semantic"; ``routing`` how a router chose the tier, None where none did; ``shaped`` what layers did,
    by their names as ``core.shapes.Shape.told`` has it; ``prefix`` is ``prompt.learned``'s. ``fingerprint`` and
    ``chain`` come from ``Salt``. ``prompt`` and ``answer`` stay None unless the user asked for text to be recorded.
    """

    id: str
    started_at: float = field(default_factory=time.time)
    feature: str = "default"
    feature_path: Sequence[str] = ()
    user: str | None = None
    tenant: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    conversation: str | None = None
    dialect: str | None = None
    route: str = "live"
    stream: bool = False
    model_asked: str | None = None
    model_answered: str | None = None
    tier: str = "api"
    service_tier: str | None = None
    upstream: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)
    cost_nano: int | None = None
    cost_low: int | None = None
    cost_high: int | None = None
    baseline_nano: int | None = None
    baseline_low: int | None = None
    baseline_high: int | None = None
    estimated: bool = False
    unpriced: bool = False
    hit: bool = False
    escalated: bool = False
    truncated: bool = False
    flags: Sequence[str] = ()
    latency_ms: float | None = None
    first_byte_ms: float | None = None
    status: int | None = None
    complete: bool | None = None
    error: str | None = None
    layers: Sequence[Mapping[str, Any]] = ()
    fingerprint: str | None = None
    chain: Sequence[str] = ()
    arm: str | None = None
    busy_s: float | None = None
    energy_low_wh: float | None = None
    energy_high_wh: float | None = None
    spilled: bool = False
    refused: int = 0
    hit_kind: str | None = None
    routing: Mapping[str, Any] | None = None
    shaped: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    prefix: Sequence[Any] | None = None
    prompt: str | None = None
    answer: str | None = None
    attempts: Sequence[AttemptRow] = ()

    @classmethod
    def of(cls, entry: Entry, **more: Any) -> CallRow:
        """Return the row of a finished ``Entry``; ``more`` are the fields an entry does not have, money above all."""
        usage, latency, first_byte = entry.usage, entry.latency_s, entry.first_byte_s
        row = cls(
            id=entry.id,
            started_at=entry.started_at,
            feature=entry.feature,
            feature_path=entry.path or (entry.feature,),
            user=entry.user,
            tenant=entry.tenant,
            tags=entry.tags,
            task=entry.task,
            conversation=entry.conversation,
            dialect=entry.dialect,
            stream=entry.stream,
            model_asked=entry.model_asked,
            model_answered=entry.model,
            tier=entry.tier,
            upstream=entry.upstream,
            cost_nano=entry.cost_nano,
            cost_low=entry.cost_low,
            cost_high=entry.cost_high,
            baseline_nano=entry.baseline_nano,
            baseline_low=entry.baseline_low,
            baseline_high=entry.baseline_high,
            estimated=entry.estimated,
            unpriced=entry.unpriced,
            truncated=entry.truncated,
            flags=entry.flags,
            latency_ms=None if latency is None else latency * 1e3,
            first_byte_ms=None if first_byte is None else first_byte * 1e3,
            status=entry.status,
            complete=entry.complete,
            error=entry.error,
            layers=[act.as_dict() for act in entry.layers],
            busy_s=entry.busy_s,
            spilled=entry.spilled,
            hit=entry.hit_kind is not None,
            hit_kind=entry.hit_kind,
            escalated=entry.escalated,
            routing=None if entry.routing is None else dict(entry.routing),
            prefix=entry.prefix,
            attempts=[AttemptRow.of(attempt) for attempt in entry.attempts],
        )
        if entry.layers:
            row.shaped = {name: shape.told() for name, shape in shapes_of(entry).items()}
        if usage is not None:
            row.input_tokens, row.output_tokens = usage.input_tokens, usage.output_tokens
            row.cache_read_tokens, row.cache_write_tokens = usage.cache_read_tokens, usage.cache_write_tokens
            row.reasoning_tokens = usage.reasoning_tokens
        if entry.energy_wh is not None:
            row.energy_low_wh, row.energy_high_wh = entry.energy_wh
        for name, value in more.items():
            setattr(row, name, value)
        return row


@dataclass(slots=True)
class TaskRow:
    """A unit of an application's work; ``outcome`` is "resolved", "failed" or None while it is open."""

    id: str
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    outcome: str | None = None
    feature: str = "default"
    user: str | None = None
    tenant: str | None = None


@dataclass(slots=True)
class EvaluationRow:
    """A judgement on a call's answer: ``value`` on the scale that ``name`` implies; ``details`` is JSON."""

    call: str
    name: str
    value: float | None = None
    judge: str | None = None
    arm: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.time)


# Stored as text, so that one driver call takes the row on every database: JSON, or hashes and words joined by commas.
# An empty value is stored as NULL.
JSON_COLUMNS = ("feature_path", "tags", "tokens", "layers", "routing", "shaped", "prefix")
JOINED_COLUMNS = ("flags", "chain")
CALL_COLUMNS = tuple(f.name for f in fields(CallRow) if f.name != "attempts")
ATTEMPT_COLUMNS = tuple(f.name for f in fields(AttemptRow))
_call_values = attrgetter(*CALL_COLUMNS)
_attempt_values = attrgetter(*ATTEMPT_COLUMNS)
BOOLEAN_COLUMNS = ("stream", "estimated", "unpriced", "hit", "escalated", "truncated", "spilled", "complete")
_JSON_AT = tuple(map(CALL_COLUMNS.index, JSON_COLUMNS))
_JOINED_AT = tuple(map(CALL_COLUMNS.index, JOINED_COLUMNS))
_BOOLEAN_AT = tuple(map(CALL_COLUMNS.index, BOOLEAN_COLUMNS))
_dump = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=str).encode


def call_values(row: CallRow) -> list[Any]:
    """Return the row's values in the order of ``CALL_COLUMNS``, ready for a driver."""
    values = list(_call_values(row))
    for i in _JSON_AT:
        values[i] = _dump(values[i]) if values[i] else None
    for i in _JOINED_AT:
        values[i] = ",".join(values[i]) if values[i] else None
    for i in _BOOLEAN_AT:
        if values[i] is not None:
            values[i] = 1 if values[i] else 0  # a true flag may be any true value
    return values


def attempt_values(row: AttemptRow) -> list[Any]:
    """Return the attempt's values in the order of ``ATTEMPT_COLUMNS``, ready for a driver."""
    values = list(_attempt_values(row))
    values[-1] = 1 if values[-1] else 0
    return values


def tamed(values: Sequence[Any]) -> list[Any]:
    """Return values no driver refuses: absurd integers clamped, lone surrogates and NULs replaced, the rest as text."""
    out: list[Any] = []
    for value in values:
        if value is None or isinstance(value, float):
            out.append(value)
        elif isinstance(value, int):
            out.append(max(-BIGGEST, min(BIGGEST, int(value))))
        else:
            text = value if isinstance(value, str) else str(value)
            out.append(text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}"))
    return out
