"""Busy seconds of a tier, each divided among the calls that ran in it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.local.endpoint import Share

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

__all__ = ["Meter", "ServerTime"]


@dataclass(frozen=True, slots=True)
class ServerTime:
    """How long a server has been up and how much of that it was busy, so far, in seconds.

    ``id`` stays the same for one run of a server; ``started_at`` is in seconds since the epoch; ``hourly_usd`` is what
    its tier declares, None where it is free. What is neither busy nor booked to a call is idle: ``up_s - busy_s``.
    """

    id: str
    name: str
    started_at: float
    up_s: float
    busy_s: float
    hourly_usd: Decimal | None = None

    @property
    def idle_s(self) -> float:
        """The seconds in which it waited for work."""
        return max(0.0, self.up_s - self.busy_s)


class Meter:
    """Counts the seconds in which at least one call is under way, and each call's share of them; thread-safe.

    A second in which n calls run counts 1/n to each, so the shares of all calls add up to ``busy_s``. It is done with
    a clock that runs at 1/n (the "virtual time" of fair queueing): a share is what that clock shows at a call's end
    less what it showed at its begin, however many calls came and went between. ``exact``: whether all the tier's calls
    are seen here; where other programs use it too, a share is the most that can be this call's.
    """

    def __init__(self, *, exact: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._exact = exact
        self._clock = clock
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[_Call] = set()
        self._at = self._clock()
        self._virtual = 0.0
        self._busy = 0.0
        self._ended = 0
        self._ended_s = 0.0

    def after_fork(self) -> None:
        """Count from nothing in a forked child: the calls under way are the parent's."""
        self._reset()

    def begin(self) -> _Call:
        """Return a call that runs from now until its ``end()``."""
        with self._lock:
            now = self._advance()
            call = _Call(self, now, self._virtual)
            self._calls.add(call)
            return call

    @property
    def running(self) -> int:
        """How many calls are under way."""
        return len(self._calls)

    @property
    def busy_s(self) -> float:
        """The seconds so far in which there was at least one."""
        with self._lock:
            self._advance()
            return self._busy

    @property
    def mean_s(self) -> float | None:
        """How long a call took on average, from its begin to its end; None before the first has ended."""
        with self._lock:
            return self._ended_s / self._ended if self._ended else None

    def _advance(self) -> float:
        now = self._clock()
        if self._calls:
            passed = max(0.0, now - self._at)
            self._busy += passed
            self._virtual += passed / len(self._calls)
        self._at = now
        return now

    def _end(self, call: _Call) -> Share:
        with self._lock:
            if call.share is None and call not in self._calls:
                call.share = Share(0.0, exact=False)  # begun before a fork: the parent's to count
            if call.share is None:
                now = self._advance()
                self._calls.discard(call)
                self._ended += 1
                self._ended_s += now - call.began
                call.share = Share(max(0.0, self._virtual - call.virtual), exact=self._exact)
            return call.share


class _Call:
    """One call under way; a ``Use``."""

    __slots__ = ("began", "meter", "share", "virtual")

    def __init__(self, meter: Meter, began: float, virtual: float) -> None:
        self.meter = meter
        self.began = began
        self.virtual = virtual
        self.share: Share | None = None

    def end(self) -> Share:
        """End it and return its share; the second time the same."""
        return self.meter._end(self)  # noqa: SLF001 - of this module


_all: weakref.WeakSet[Meter] = weakref.WeakSet()


def _after_fork() -> None:
    for meter in list(_all):
        meter.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
