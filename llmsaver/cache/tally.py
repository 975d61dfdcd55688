"""What became of a feature's hits, and of what would have been hits: the measured side of the promise."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llmsaver.cache.decision import Decision

__all__ = ["UNMATCHED", "Outcome", "Tally", "beyond"]

# The channel of a question that nothing was voted for.
UNMATCHED = "none"
_WINDOW = 400
_KEPT = 2_000
_DOUBT = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """One decision whose truth became known: on which channel, at which odds, whether fit to serve, and if right."""

    channel: str
    logit: float
    fit: bool
    right: bool


class Tally:
    """Counts of one feature; not thread-safe: its owner locks.

    ``served`` counts hits; ``audited`` and ``wrong`` those of them that were checked, and failed. ``outcomes`` are the
    latest decisions with a known truth, served or not.
    """

    def __init__(self, max_wrong: float) -> None:
        self.max_wrong = max_wrong
        self.served = self.audited = self.wrong = 0
        self.outcomes: deque[Outcome] = deque(maxlen=_KEPT)
        self._checked: deque[bool] = deque(maxlen=_WINDOW)

    def unmatched(self) -> None:
        """Count a question that was like none that is stored."""
        self.outcomes.append(Outcome(UNMATCHED, 0.0, fit=False, right=False))

    def note(self, decision: Decision, *, right: bool, audited: bool) -> None:
        """Count a decision whose truth became known."""
        self.outcomes.append(Outcome(decision.channel, round(decision.logit, 3), decision.fit, right))
        if audited:
            self.audited += 1
            self.wrong += not right
        if decision.serve is not None:
            self._checked.append(right)

    @property
    def broken(self) -> bool:
        """Whether what was checked contradicts the promise, with 95 % confidence; then nothing is served.

        While it is broken, what would be hits are answered for real and checked all the same, so that it can mend.
        """
        return beyond(self._checked.count(False), len(self._checked), self.max_wrong)

    def state(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "served": self.served,
            "audited": self.audited,
            "wrong": self.wrong,
            "checked": [int(right) for right in self._checked],
            "outcomes": [[each.channel, each.logit, each.fit, each.right] for each in self.outcomes],
        }

    @classmethod
    def restored(cls, max_wrong: float, state: Mapping[str, Any]) -> Tally:
        """Return one that goes on from ``state``; what cannot be read starts anew."""
        made = cls(max_wrong)
        try:
            counts = [int(state[name]) for name in ("served", "audited", "wrong")]
            checked = [bool(each) for each in state["checked"]]
            outcomes = [Outcome(str(c), float(logit), bool(fit), bool(right)) for c, logit, fit, right in _rows(state)]
        except (KeyError, TypeError, ValueError, OverflowError):
            return made
        if not all(math.isfinite(each.logit) for each in outcomes):
            return made
        made.served, made.audited, made.wrong = counts
        made._checked.extend(checked)
        made.outcomes.extend(outcomes)
        return made


def _rows(state: Mapping[str, Any]) -> Iterable[Any]:
    rows: Iterable[Any] = state["outcomes"]
    return rows


def beyond(wrong: int, checked: int, share: float, doubt: float = _DOUBT) -> bool:
    """Return whether ``wrong`` of ``checked`` shows a true share above ``share`` (one-sided exact binomial test)."""
    if not wrong:
        return False
    less = sum(
        math.exp(
            math.lgamma(checked + 1)
            - math.lgamma(k + 1)
            - math.lgamma(checked - k + 1)
            + k * math.log(share)
            + (checked - k) * math.log1p(-share)
        )
        for k in range(wrong)
    )
    return 1 - less < doubt
