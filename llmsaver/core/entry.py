"""The record of one call: who asked, what each layer did, who answered, what it used."""

from __future__ import annotations

import itertools
import os
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.core.shapes import shapes_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.core.options import Options
    from llmsaver.core.shapes import Shape
    from llmsaver.core.usage import Usage

__all__ = ["Attempt", "Entry", "LayerAct", "current_entry", "dollars", "entry_within", "latest_attempt"]


@dataclass(frozen=True, slots=True)
class LayerAct:
    """One thing a layer did to a call: ``action`` in a word ("hit", "changed", "failed"), ``why`` in a sentence.

    ``figures`` are numbers by name: of a layer that shapes prompts "before" and "after" in bytes, and "saved_nano", the
    nano-dollars it saved or, below 0, cost.
    """

    name: str
    action: str
    why: str = ""
    figures: Mapping[str, int] | None = field(default=None, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as they appear in ``response.llmsaver["layers"]``."""
        told: dict[str, Any] = {"name": self.name, "action": self.action, "why": self.why}
        return told if self.figures is None else {**told, **self.figures}


@dataclass(slots=True)
class Attempt:
    """One request that left for an upstream; ``status`` is the HTTP status, None where the transport failed.

    ``latency_s`` runs until the answer's headers; ``cost`` is a ``pricing.Cost`` once it is known, None for a reply
    that is never billed. On a local tier, ``local`` is what its user declared (a ``local.Tier``; None for a model of
    the catalogue), ``use`` the call under way there and ``share`` its part of the tier's busy seconds once it ended.
    ``began`` is on the monotonic clock, and set on local tiers only. ``overflow``: the prompt's tokens and those that
    the model has room for, where it was refused for being too long.
    """

    upstream: str
    model: str | None
    status: int | None = None
    error: str | None = None
    tier: str = "api"
    latency_s: float | None = None
    cost: Any = None
    local: Any = None
    use: Any = field(default=None, repr=False)
    share: Any = None
    began: float | None = None
    overflow: tuple[int, int] | None = None


def dollars(nano: int | None) -> str | None:
    """Return nano-dollars as an exact decimal string of dollars: 1500000 -> "0.0015"."""
    if nano is None:
        return None
    whole, part = divmod(abs(nano), 10**9)
    text = f"{whole}.{part:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if nano < 0 else text


class _Ids:
    """Ids no other process gives: random per process (a forked child draws anew), counted within it."""

    def __init__(self) -> None:
        self.draw()
        os.register_at_fork(after_in_child=self.draw)

    def draw(self) -> None:
        """Start a new series."""
        self._series = "e" + os.urandom(10).hex()
        self._count = itertools.count()

    def new(self) -> str:
        """Return the next id."""
        return f"{self._series}{next(self._count):06x}"


_ids = _Ids()


@dataclass(slots=True)
class Entry:
    """One call, however many attempts it took; live until the answer completed, final after.

    Latencies are seconds on a monotonic clock (a wall clock that jumps back changes none of them); ``started_at`` is
    seconds since the epoch. ``tier`` is "api", "local", or "none" where no upstream answered. ``feature`` is the last
    of ``path``, the features from the outermost. Money is in whole nano-dollars with its bounds, None where unknown;
    ``estimated`` and ``unpriced`` (with ``flags``) say how far to trust it. ``clamped_to``: the max-tokens value a
    nearly spent budget left, ``truncated`` whether the answer ran into it. ``dues``: what the call's holds are to be
    settled at; ``under_way`` has an item for each attempt that is not settled yet, and ``rebook`` is what writes the
    row anew where one of them ends after it.

    On local tiers, ``busy_s`` is the call's share of their busy seconds and ``energy_wh`` the least and the most
    watt-hours that it took, as ``energy_source`` tells. ``spilled``: whether a tier that was too busy, or down, had the
    call answered elsewhere; ``written_cost`` is then what the tier that was asked would have cost, where that is known.
    ``escalated``: whether an answer of a cheaper tier was judged and not accepted; ``routing``: how the router chose,
    JSON (see ``router.routing``); a router too leaves in ``written_cost`` what the tier it replaces would have cost.
    ``hit_kind``: by which cache the call was answered, "exact" or "semantic". ``prefix``: what a planner of provider
    caches wants other processes to know of the request's prefixes, salted hashes and sizes (see ``prompt.learned``).
    """

    dialect: str
    model_asked: str | None
    feature: str = "default"
    user: str | None = None
    tenant: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    conversation: str | None = None
    stream: bool = False
    path: tuple[str, ...] = ()
    id: str = field(default_factory=_ids.new)
    started_at: float = field(default_factory=time.time)
    model: str | None = None
    tier: str = "none"
    upstream: str | None = None
    status: int | None = None
    usage: Usage | None = None
    complete: bool | None = None
    error: str | None = None
    estimated: bool = False
    unpriced: bool = False
    flags: tuple[str, ...] = ()
    cost_nano: int | None = None
    cost_low: int | None = None
    cost_high: int | None = None
    baseline_nano: int | None = None
    baseline_low: int | None = None
    baseline_high: int | None = None
    clamped_to: int | None = None
    truncated: bool = False
    busy_s: float | None = None
    energy_wh: tuple[float, float] | None = None
    energy_source: str | None = None
    spilled: bool = False
    escalated: bool = False
    routing: Mapping[str, Any] | None = None
    hit_kind: str | None = None
    prefix: Sequence[Any] | None = None
    written_cost: Any = None
    latency_s: float | None = None
    first_byte_s: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    layers: list[LayerAct] = field(default_factory=list)
    dues: list[Any] = field(default_factory=list, repr=False)
    under_way: list[None] = field(default_factory=list, repr=False)
    rebook: Any = field(default=None, repr=False)
    clock: float = field(default_factory=time.monotonic, repr=False)

    def begin(self, attempt: Attempt) -> None:
        """Note that a request is leaving; the layers above find theirs again in ``latest_attempt``."""
        self.attempts.append(attempt)
        if attempt.tier == "local":
            attempt.began = time.monotonic()
        latest_attempt.set(attempt)

    def act(self, name: str, action: str, why: str = "", **figures: int) -> None:
        """Say what layer ``name`` did; shown in headers, in ``response.llmsaver`` and in the ledger."""
        self.layers.append(LayerAct(name, action, why, figures or None))

    @property
    def cost_usd(self) -> str | None:
        """What the call cost, in dollars as a decimal string; None where unknown."""
        return None if self.unpriced else dollars(self.cost_nano)

    @property
    def baseline_usd(self) -> str | None:
        """What the request as written would have cost, in dollars; None where unknown."""
        return None if self.unpriced else dollars(self.baseline_nano)

    @property
    def saved_usd(self) -> str | None:
        """The difference of the two, negative where a layer cost more than it saved; None where unknown."""
        if self.unpriced or self.baseline_nano is None or self.cost_nano is None:
            return None
        return dollars(self.baseline_nano - self.cost_nano)

    def elapsed(self) -> float:
        """Return the seconds since the call began, never negative."""
        return max(0.0, time.monotonic() - self.clock)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``response.llmsaver`` shows; ``shaped`` is by layer, its tokens estimated from bytes."""
        shapes = shapes_of(self)
        return {
            "entry": self.id,
            "feature": self.feature,
            "model": self.model or self.model_asked,
            "tier": self.tier,
            "upstream": self.upstream,
            "cost_usd": self.cost_usd,
            "baseline_usd": self.baseline_usd,
            "saved_usd": self.saved_usd,
            "estimated": self.estimated,
            "layers": [act.as_dict() for act in self.layers],
            **({"shaped": [_shown(name, shape) for name, shape in shapes.items()]} if shapes else {}),
            **({} if self.routing is None else {"router": dict(self.routing)}),
        }


def _shown(name: str, shape: Shape) -> dict[str, Any]:
    """Return what a layer did to a call, for people."""
    told: dict[str, Any] = {"name": name}
    if shape.before is not None:
        told |= {"tokens_before": shape.before, "tokens_after": shape.after, "tokens_estimated": True}
    told |= {"saved_usd": dollars(shape.saved)}
    return told if shape.broken is None else {**told, "broken": shape.broken}


# The SDKs retry inside one context: the entry that the first attempt left here is the one a retry belongs to.
current_entry: ContextVar[Entry | None] = ContextVar("llmsaver_entry", default=None)
# Which attempt the layer that awaited it is to settle: attempts of one call may run side by side, each in its context.
latest_attempt: ContextVar[Attempt | None] = ContextVar("llmsaver_attempt", default=None)


def entry_within(
    options: Options, dialect: str, model: str | None, *, feature: str, tenant: str | None, stream: bool = False
) -> Entry:
    """Return a new entry in the scope of ``options``; ``feature`` and ``tenant`` are those where they name none."""
    feature = options.feature or feature
    return Entry(
        dialect=dialect,
        model_asked=model,
        feature=feature,
        user=options.user,
        tenant=options.tenant or tenant,
        tags=options.tags,
        task=options.task,
        conversation=options.conversation,
        stream=stream,
        path=options.path or (feature,),
    )
