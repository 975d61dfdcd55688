"""An error budget kept: the prior's log-odds, corrected by what came true, and the least odds that may be served."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Calibration"]

_SPREAD = 0.5  # the prior's own error on traffic it has not seen, in log-odds (between the two sets it was fitted on)
_CONFIDENCE = 1.645  # standard deviations below which 5 % of a normal distribution lie
_WINDOW = 800
_ENOUGH = 50
_EVERY = 25
# What a channel that only becomes stricter serves at least, however much room sure hits leave.
_FLOOR = 0.95
_AIM = 0.82  # of the promised share: room for the error of the correction itself, and so that a bound keeps it too


class Calibration:
    """How one feature's traffic bears out the prior; not thread-safe: its owner locks.

    The correction is a shift of the log-odds with a normal posterior, updated one observation at a time (an online
    Newton step of logistic regression with only a bias, from N(0, 0.5^2)); probabilities are taken at its lower 95 %
    bound. What is served: the largest set of questions, judged on the last 800, whose *expected* share of wrong
    answers keeps ``max_wrong``. Until 50 questions are known, each question must keep it by itself.

    ``rises=False``: what is learned can only make it stricter. Misses show doubtful questions alone; that these turn
    out right more often than predicted does not make the sure ones any surer. Nor is one served that is less likely
    right than 95 %, whatever room sure hits leave.
    """

    def __init__(self, max_wrong: float, *, rises: bool = True) -> None:
        self.max_wrong = max_wrong
        self._most = math.inf if rises else -_CONFIDENCE * _SPREAD
        self._floor = 0.0 if rises else _FLOOR
        self._shift = 0.0
        self._precision = _SPREAD**-2
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._seen = 0
        self._least = self._alone()

    def probability(self, logit: float) -> float:
        """Return the probability that an answer with these prior log-odds is right, at its lower 95 % bound."""
        return _logistic(logit + min(self._shift - _CONFIDENCE / math.sqrt(self._precision), self._most))

    def admits(self, logit: float) -> bool:
        """Count a question and return whether its answer may be served."""
        self._recent.append(logit)
        self._seen += 1
        if self._seen >= _ENOUGH and self._seen % _EVERY == 0:
            self._least = self._threshold(self.probability(each) for each in self._recent)
        return self.probability(logit) >= self._least

    def observe(self, logit: float, *, right: bool) -> None:
        """Learn whether the answer voted for was right: after a miss, or from an audit.

        What the prior holds for improbable teaches nothing about what could be served, and is left out.
        """
        chance = _logistic(logit + self._shift)
        if chance <= 0.5:  # noqa: PLR2004 - more likely wrong than right
            return
        self._precision += chance * (1 - chance)
        self._shift += (right - chance) / self._precision

    def _alone(self) -> float:
        return 1 - self.max_wrong * _AIM

    def _threshold(self, chances: Iterable[float]) -> float:
        """Return the lowest probability to serve so that the mean of what is served keeps the promise."""
        least, wrong = self._alone(), 0.0
        for count, chance in enumerate(sorted(chances, reverse=True), 1):
            wrong += 1 - chance
            if wrong > self.max_wrong * _AIM * count:
                break
            least = min(least, chance)
        return max(least, min(self._floor, self._alone()))

    def state(self) -> dict[str, Any]:
        """Return what was learned, as JSON."""
        return {"shift": self._shift, "precision": self._precision, "recent": list(self._recent), "seen": self._seen}

    @classmethod
    def restored(cls, max_wrong: float, state: Mapping[str, Any], *, rises: bool = True) -> Calibration:
        """Return one that goes on from ``state``; what cannot be read starts anew."""
        made = cls(max_wrong, rises=rises)
        try:
            shift, precision = float(state["shift"]), float(state["precision"])
            recent = [float(each) for each in state["recent"]]
            seen = int(state["seen"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return made
        if precision < made._precision or not all(map(math.isfinite, (shift, precision, *recent))):
            return made
        made._shift, made._precision, made._seen = shift, precision, seen
        made._recent.extend(recent)
        if seen >= _ENOUGH:
            made._least = made._threshold(map(made.probability, made._recent))
        return made


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0  # noqa: PLR2004 - exp overflows beyond
