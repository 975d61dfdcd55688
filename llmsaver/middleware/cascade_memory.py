"""What a cascade has learned of its money and of its traffic, kept in the ledger: a restart forgets nothing of it."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmsaver.ledger import LedgerUnavailable
from llmsaver.router.drift import Drift
from llmsaver.router.stakes import Stakes
from llmsaver.router.step_aside import StepAside
from llmsaver.wire.payload import as_dict

if TYPE_CHECKING:
    from llmsaver.ledger import Ledger

__all__ = ["NAME", "Memory"]

# Under this name the ledger keeps it, one row for each feature, each in the earlier one's place.
NAME = "router memory"
_FEATURES = 1_000
# It is written after the first call, after as many again, and so on; but after so many at the latest.
_SELDOM = 50
# Programs that end wait no longer than this.
_END_SECONDS = 2.0


@dataclass(slots=True, weakref_slot=True, eq=False)
class Memory:
    """``stakes``, ``aside`` and ``drift`` of a cascade; ``policy`` tells apart cascades that share a ledger.

    What processes have spent adds up; of what they have seen of the traffic, the fuller view is everybody's.
    """

    policy: str
    ledger: Ledger | None
    stakes: Stakes = field(default_factory=Stakes)
    aside: StepAside = field(default_factory=StepAside)
    drift: Drift = field(default_factory=Drift)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looked: bool = False
    _calls: int = 0
    _saved: int = 0

    def __post_init__(self) -> None:
        _all.add(self)
        if self.ledger is not None:
            _write_at_exit()

    def noted(self) -> bool:
        """Count a call; return whether it is time to write."""
        self._calls += 1
        return self.ledger is not None and self._calls - self._saved >= min(_SELDOM, max(1, self._saved))

    def sync(self, seconds: float = 0.0) -> set[str]:
        """Take in what other processes have written, and write what is new here; blocking.

        Returns the features whose traffic has shifted, or is settled again, by what others say. Another thread's sync
        is waited for so long; while that is under way nothing is done.
        """
        heard: set[str] = set()
        ledger = self.ledger
        if ledger is None or not self._lock.acquire(timeout=seconds):
            return heard
        try:
            self._saved = self._calls
            self._sync(ledger, heard)
        finally:
            self._lock.release()
        return heard

    def after_fork(self) -> None:
        """Make good in a forked child: what is new is the parent's to write, and what is held the parent's to spend."""
        self._lock = threading.Lock()
        self.stakes.after_fork()
        self.aside.after_fork()
        self.drift.after_fork()

    def _sync(self, ledger: Ledger, heard: set[str]) -> None:
        judge = blake2b(self.policy.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        fresh = self.stakes.fresh()
        if not self._looked:
            try:
                with ledger.reader() as reader:
                    rows = reader.evaluations(NAME, limit=_FEATURES)
            except LedgerUnavailable:
                return
            self._looked = True
            told = [as_dict(row["details"]) for row in rows if row["judge"] == judge]
            for given in told:
                if "feature" in given and (feature := str(given["feature"])) not in fresh:
                    self.stakes.merged(feature, given.get("stakes"))
                    self._seen(feature, given, heard)
        if fresh:
            self._write(ledger, judge, fresh, heard)

    def _write(self, ledger: Ledger, judge: str, fresh: list[str], heard: set[str]) -> None:
        """Add what is new to what the ledger says, in one transaction: processes that write at once all count."""
        features = {_call(feature): feature for feature in fresh}
        news = {feature: self.stakes.news(feature) for feature in fresh}
        sums: dict[str, dict[str, float]] = {}

        def change(call: str, told: object) -> dict[str, Any]:
            feature, given = features[call], as_dict(told)
            sums[feature] = self.stakes.added(given.get("stakes"), news[feature])
            return {"feature": feature, "stakes": sums[feature], **self._seen(feature, given, heard)}

        written = False
        try:
            written = ledger.revise(NAME, judge, features, change)
        finally:
            for feature, new in news.items():
                if written:
                    self.stakes.told(feature, sums[feature])
                else:
                    self.stakes.untold(feature, new)

    def _seen(self, feature: str, given: dict[str, Any], heard: set[str]) -> dict[str, Any]:
        """Take in what others have seen of a feature; return it as the ledger has it."""
        before = self.drift.watch(feature).since
        seen = {
            "aside": self.aside.merged(feature, as_dict(given.get("aside"))),
            "drift": self.drift.merged(feature, as_dict(given.get("drift"))),
        }
        if self.drift.watch(feature).since != before:
            heard.add(feature)
        return seen


def _call(feature: str) -> str:
    return f"feature:{feature}"


_all: weakref.WeakSet[Memory] = weakref.WeakSet()


@cache
def _write_at_exit() -> None:
    """Register it once there is a ledger, whose own ending is registered by then: the latest comes first."""
    atexit.register(_write_all)


def _write_all() -> None:
    until = time.monotonic() + _END_SECONDS
    for memory in list(_all):
        with suppress(Exception):  # a program ends without a word about it
            ledger = memory.ledger
            # A server that lost rows may not answer, which would hold up the end for as long as it likes.
            lost = ledger is not None and ledger.store.file is None and ledger.lost
            if ledger is not None and ledger.store.there and memory.stakes.fresh() and not lost:
                memory.sync(max(0.0, until - time.monotonic()))


def _after_fork() -> None:
    for memory in list(_all):
        memory.after_fork()


os.register_at_fork(after_in_child=_after_fork)
