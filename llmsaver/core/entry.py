"""The record of one call: who asked, what each layer did, who answered, what it used."""

from __future__ import annotations

import itertools
import os
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.usage import Usage

__all__ = ["Attempt", "Entry", "LayerAct", "current_entry"]


@dataclass(frozen=True, slots=True)
class LayerAct:
    """One thing a layer did to a call: ``action`` in a word ("hit", "changed", "failed"), ``why`` in a sentence."""

    name: str
    action: str
    why: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the three fields as they appear in ``response.llmsaver["layers"]``."""
        return {"name": self.name, "action": self.action, "why": self.why}


@dataclass(slots=True)
class Attempt:
    """One request that left for an upstream; ``status`` is the HTTP status, None where the transport failed."""

    upstream: str
    model: str | None
    status: int | None = None
    error: str | None = None


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
    seconds since the epoch. ``tier`` is "api", "local", or "none" where no upstream answered. Money fields are decimal
    strings of US dollars, None where unknown.
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
    cost_usd: str | None = None
    baseline_usd: str | None = None
    saved_usd: str | None = None
    latency_s: float | None = None
    first_byte_s: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    layers: list[LayerAct] = field(default_factory=list)
    clock: float = field(default_factory=time.monotonic, repr=False)

    def act(self, name: str, action: str, why: str = "") -> None:
        """Say what layer ``name`` did; shown in headers, in ``response.llmsaver`` and in the ledger."""
        self.layers.append(LayerAct(name, action, why))

    def elapsed(self) -> float:
        """Return the seconds since the call began, never negative."""
        return max(0.0, time.monotonic() - self.clock)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``response.llmsaver`` shows."""
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
        }


# The SDKs retry inside one context: the entry that the first attempt left here is the one a retry belongs to.
current_entry: ContextVar[Entry | None] = ContextVar("llmsaver_entry", default=None)
