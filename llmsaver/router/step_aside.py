"""Where a cascade costs more than the strong model alone, and how soon that is known."""

from __future__ import annotations

import math
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["StepAside", "Verdict"]

# Trials of a cascade that stepped aside may add so much to its feature's bill, and are no more often than this.
_TRIALS = 0.002
_RAREST, _OFTENEST = 1_000, 50
# Once aside, a cascade must look so much better before it comes back: no flapping at the edge.
_BETTER = 0.98
_FEATURES = 1_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the cascade steps aside for a feature, why in words, and by what figures.

    ``probe``: it does, and this call is a trial of whether that is still right. ``escalation``: the share of calls
    that went to the strong tier after all; ``weak_nano`` and ``strong_nano``: means per call, all that judging costs in
    the former. ``calls``: those it rests on, older ones counting less.
    """

    aside: bool
    probe: bool
    why: str
    calls: float
    escalation: float
    weak_nano: float
    strong_nano: float


@dataclass(slots=True)
class _Sums:
    calls: float = 0.0
    escalated: float = 0.0
    weak: float = 0.0
    strong: float = 0.0
    paid: float = 0.0
    aside: bool = False
    since: int = 0


class StepAside:
    """Sums what cascades cost, feature by feature, and says where they lose: weak + escalation x strong >= strong.

    Before there is evidence a feature is taken to escalate a share ``escalation``, which counts as ``start`` calls
    (a Beta prior's mean and weight); nothing is concluded from fewer than ``needed`` calls. What is ``half_life``
    calls ago counts half. A cascade that stepped aside is tried again now and then, so seldom that trials add at most
    0.2 % to the bill, and comes back once it saves 2 %. Safe from any thread; holds the 1,000 latest features.
    """

    def __init__(
        self, *, start: float = 2.0, escalation: float = 0.4, needed: int = 20, half_life: float = 2_000.0
    ) -> None:
        self._start, self._escalation, self._needed = start, escalation, needed
        self._fading = 0.5 ** (1.0 / half_life)
        self._lock = threading.Lock()
        self._features: dict[str, _Sums] = {}

    def note(
        self, feature: str, *, weak_nano: float, strong_nano: float, escalated: bool, extra_nano: float = 0.0
    ) -> None:
        """Add one call that the cascade judged.

        ``weak_nano``: the cheap attempt; ``extra_nano``: what judging it took; ``strong_nano``: the strong tier's
        answer, or where it gave none, the price it would have had. Amounts below 0 or NaN leave all as it is.
        """
        amounts = (weak_nano, strong_nano, extra_nano)
        if not all(math.isfinite(each) and each >= 0 for each in amounts):
            return
        with self._lock:
            sums = self._features.pop(feature, None) or _Sums()
            self._features[feature] = sums
            if len(self._features) > _FEATURES:
                del self._features[next(iter(self._features))]
            for name, added in (
                ("calls", 1.0),
                ("escalated", float(escalated)),
                ("weak", weak_nano + extra_nano),
                ("strong", strong_nano),
                ("paid", strong_nano if escalated else 0.0),
            ):
                setattr(sums, name, self._fading * getattr(sums, name) + added)
            self._settle(sums)

    def verdict(self, feature: str) -> Verdict:
        """Return what is known of a feature."""
        with self._lock:
            return self._told(self._features.get(feature) or _Sums(), probe=False)

    def turn(self, feature: str) -> Verdict:
        """Return what a call of the feature is to do, and count it: where ``aside`` it goes to the strong tier.

        Every so often that is a ``probe``: ``aside`` is False, the cascade acts, and its cost is noted as any other's.
        """
        with self._lock:
            sums = self._features.get(feature) or _Sums()
            if not sums.aside:
                return self._told(sums, probe=False)
            sums.since += 1
            probe = sums.since >= _every(sums)
            if probe:
                sums.since = 0
            return self._told(sums, probe=probe)

    def as_dict(self) -> dict[str, Any]:
        """Return all sums as JSON holds them."""
        with self._lock:
            return {feature: asdict(sums) for feature, sums in self._features.items()}

    def merged(self, feature: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Take over sums that were told so elsewhere where they are of more calls; return those that are held then."""
        told = _sums(given)
        with self._lock:
            sums = self._features.get(feature) or _Sums()
            if told is not None and told.calls > sums.calls:
                sums = self._features[feature] = told
            return asdict(sums)

    def after_fork(self) -> None:
        """Make good in a forked child, whose parent may have been at it."""
        self._lock = threading.Lock()

    def _share(self, known: float, sums: _Sums) -> float:
        """Return a share of the feature's calls as the prior and what is known of them give it."""
        return (known + self._start * self._escalation) / ((sums.calls + self._start) or 1.0)

    def _bill(self, sums: _Sums) -> float:
        """Return what the cascade costs as a share of what the strong tier alone would; what is hard is dear, too."""
        if not sums.strong:
            return math.inf if sums.weak else 0.0
        return sums.weak / sums.strong + self._share(sums.paid / sums.strong * sums.calls, sums)

    def _settle(self, sums: _Sums) -> None:
        """Judge a feature anew after a call."""
        if sums.calls < min(self._needed, 0.5 / (1.0 - self._fading)):
            return
        aside = self._bill(sums) >= (_BETTER if sums.aside else 1.0)
        if aside and not sums.aside:
            sums.since = 0
        sums.aside = aside

    def _told(self, sums: _Sums, *, probe: bool) -> Verdict:
        calls = sums.calls or 1.0
        why = "nothing is known yet"
        if sums.calls:
            does = "the cascade costs more than it saves" if sums.aside else "the cascade is no loss"
            why = f"{does}: {self._bill(sums):.1%} of the last tier alone, over some {sums.calls:.0f} calls"
        if probe:
            why += "; this call tries whether that still holds"
        share = self._share(sums.escalated, sums)
        return Verdict(sums.aside and not probe, probe, why, sums.calls, share, sums.weak / calls, sums.strong / calls)


def _every(sums: _Sums) -> int:
    """Return of how many calls one is a trial: it costs a cheap answer for nothing."""
    ratio = sums.weak / sums.strong if sums.strong else 1.0
    return max(_OFTENEST, min(_RAREST, math.ceil(ratio / _TRIALS)))


def _sums(given: Mapping[str, Any]) -> _Sums | None:
    names = ("calls", "escalated", "weak", "strong", "paid")
    amounts = [float(given[name]) for name in names if type(given.get(name)) in (int, float)]
    if len(amounts) != len(names) or not all(0 <= each < math.inf for each in amounts):
        return None
    calls, escalated, weak, strong, paid = amounts
    return _Sums(calls, escalated, weak, strong, paid, aside=given.get("aside") is True)
