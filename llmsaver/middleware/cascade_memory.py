"""What a cascade has learned of its money and of its traffic, kept in the ledger: a restart forgets nothing of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmsaver.ledger import LedgerUnavailable
from llmsaver.ledger.rows import EvaluationRow
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


@dataclass(slots=True)
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

    def noted(self) -> bool:
        """Count a call; return whether it is time to write."""
        self._calls += 1
        return self.ledger is not None and self._calls - self._saved >= min(_SELDOM, max(1, self._saved))

    def sync(self) -> None:
        """Take in what other processes have written, and write what is new here; blocking, and never waits twice."""
        if self.ledger is None or not self._lock.acquire(blocking=False):
            return
        try:
            self._saved = self._calls
            self._sync(self.ledger)
        finally:
            self._lock.release()

    def _sync(self, ledger: Ledger) -> None:
        judge = blake2b(self.policy.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        fresh = self.stakes.fresh()
        try:
            with ledger.reader() as reader:
                if self._looked:
                    rows = [row for each in fresh for row in reader.evaluations(NAME, call=_call(each))]
                else:
                    rows = reader.evaluations(NAME, limit=_FEATURES)
        except LedgerUnavailable:
            return
        self._looked = True
        told = {row["call"]: as_dict(row["details"]) for row in rows if row["judge"] == judge}
        known = {str(each["feature"]) for each in told.values() if "feature" in each}
        merged = {feature: self._merged(feature, told.get(_call(feature), {})) for feature in {*known, *fresh}}
        ledger.evaluate_all(EvaluationRow(_call(each), NAME, judge=judge, details=merged[each]) for each in fresh)

    def _merged(self, feature: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return a feature's row with what is new here, and go on from it."""
        return {
            "feature": feature,
            "stakes": self.stakes.merged(feature, given.get("stakes")),
            "aside": self.aside.merged(feature, as_dict(given.get("aside"))),
            "drift": self.drift.merged(feature, as_dict(given.get("drift"))),
        }


def _call(feature: str) -> str:
    return f"feature:{feature}"
