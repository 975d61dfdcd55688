"""What is known of each tier's answers, and the threshold that follows: promised, prior, fixed, or none yet."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.router.calibration import NotEnough, Threshold, contract
from llmsaver.router.drift import Drift
from llmsaver.router.labels import read, write
from llmsaver.router.prior import prior_threshold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmsaver.ledger import Ledger
    from llmsaver.middleware.cascade_terms import Terms
    from llmsaver.router.calibration import Label
    from llmsaver.router.labels import Labelled

__all__ = ["PREFIX", "SELF", "WHOLE", "Bar", "Evidence", "lane_of"]

log = logging.getLogger("llmsaver")

# What a confidence is of: a whole answer, only its beginning (optimistic streaming), or what a tier says of its own.
WHOLE, PREFIX, SELF = "whole", "prefix", "self-check"
# Labels kept in memory for one feature and tier; the latest are the most like what is asked now.
_MOST = 4_000
_LOOK_SECONDS = 30.0
# While traffic has shifted: how many labels since then settle it, where no quality was promised.
_BACK = 30
_GOOD = 0.9
# What a tier says of its own answers is heard from so many labels on, if it tells good from bad so often.
_FEW, _LATE, _TELLS = 30, 200, 0.6
# With more labels than that, thresholds are decided anew so often only, and in no more than this part of the time:
# on 4,000 labels it takes half a second.
_MANY, _RENEW_SECONDS, _RENEW_PART = 200, 5.0, 0.02


def lane_of(signal: str) -> str:
    """Return what a signal is of: confidences are held against labels of their own kind only."""
    return signal if signal in (PREFIX, SELF) else WHOLE


@dataclass(frozen=True, slots=True)
class Bar:
    """What an answer's confidence is held against; ``serves`` is False where no answer of the tier may be served.

    ``signal``: the only one that counts, None for any, each against its own ``value`` then. ``strict``: traffic is not
    what those values were chosen for, so more is asked.
    """

    evidence: str
    serves: bool = True
    signal: str | None = None
    value: float | None = None
    quality_low: float | None = None
    found: Threshold | NotEnough | None = None
    strict: bool = False


class Evidence:
    """Labels by feature and tier, from the ledger and from this program; thread-safe, and nothing here raises."""

    def __init__(
        self, terms: Terms, ledger: Ledger | None, given: Iterable[Labelled] = (), drift: Drift | None = None
    ) -> None:
        self._terms = terms
        self._ledger = ledger
        self.drift = Drift() if drift is None else drift
        self._labels: dict[tuple[str, str], OrderedDict[tuple[str, str], Labelled]] = {}
        self._bars: dict[tuple[str, str, str], Bar] = {}
        self._lock = threading.Lock()
        self._seq = 0
        self._looked_at = -math.inf
        self._renewed: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._take(given)

    @property
    def stale(self) -> bool:
        """Whether it is time to look into the ledger again."""
        return self._ledger is not None and time.monotonic() - self._looked_at > _LOOK_SECONDS

    @property
    def looked(self) -> bool:
        """Whether the ledger has been looked into at all."""
        return self._ledger is None or self._looked_at > -math.inf

    def look(self) -> None:
        """Take in what was written into the ledger since; blocking."""
        self._looked_at = time.monotonic()
        new = [] if self._ledger is None else read(self._ledger, after=self._seq)
        self._seq = max((each.seq for each in new), default=self._seq)
        self._take(new)

    def learn(self, labels: Sequence[Labelled]) -> int:
        """Keep labels, in the ledger too; blocking. Returns how many are in the ledger."""
        self._take(labels)
        return 0 if self._ledger is None else write(self._ledger, labels)

    def labels(self, feature: str, tier: str, lane: str = WHOLE, *, since: float | None = None) -> list[Label]:
        """Return the labels for a feature; those that name no feature are for every one."""
        with self._lock:
            own, every = self._labels.get((feature, tier)), self._labels.get(("", tier))
            kept = [*(own or {}).values(), *((every or {}).values() if feature else ())]
        return [
            each.label for each in kept if lane_of(each.label.signal) == lane and (since is None or each.at >= since)
        ]

    def known(self) -> list[tuple[str, str]]:
        """Return the features and tiers there are labels of."""
        with self._lock:
            return sorted(self._labels)

    def features(self) -> list[str]:
        """Return the features that thresholds were asked for."""
        with self._lock:
            return sorted({feature for feature, _, _ in self._bars})

    def bar(self, feature: str, tier: str, lane: str = WHOLE) -> Bar:
        """Return what the confidence in an answer of ``tier`` is held against now."""
        found = self._bars.get((feature, tier, lane))
        if found is None:
            found = self._bars[feature, tier, lane] = self._bar(feature, tier, lane)
        return found

    def threshold(self, bar: Bar, signal: str) -> float:
        """Return the confidence of ``signal`` from which an answer is accepted; infinity for never."""
        if bar.value is not None:
            return bar.value if bar.signal in (None, signal) else math.inf
        name = "logprobs" if signal == PREFIX else signal.replace("-", "_")
        fixed = self._terms.thresholds
        if fixed is not None:
            return fixed.get(name, fixed.get("", math.inf))
        value = prior_threshold(name)
        return (1 + value) / 2 if bar.strict and value < 1 else value

    def self_check_helps(self, feature: str, tier: str) -> bool:
        """Return whether labels show that what a tier says of its own answers tells good ones from bad ones."""
        labels = self.labels(feature, tier, SELF)[-_LATE:]
        return len(labels) >= _FEW and _told_apart(labels) >= _TELLS

    def shifted(self, feature: str, what: str) -> None:
        """Say that a feature's traffic has shifted, and decide its thresholds anew."""
        log.warning(
            "llmsaver: the traffic of feature %r has shifted: %s; the cascade audits more of it and accepts less "
            "until there is evidence again",
            feature,
            what,
        )
        self.forget_bars(feature)

    def forget_bars(self, feature: str = "") -> None:
        """Decide a feature's thresholds anew; "" for all."""
        with self._lock:
            self._bars = {key: bar for key, bar in self._bars.items() if feature and key[0] != feature}

    def _take(self, labels: Iterable[Labelled]) -> None:
        """Keep labels in memory, each once: one of the same judge on the same call takes the earlier one's place."""
        features = set()
        with self._lock:
            for each in labels:
                kept = self._labels.setdefault((each.label.feature, each.tier), OrderedDict())
                kept[each.call, each.judge] = each
                if len(kept) > _MOST:
                    kept.popitem(last=False)
                features.add(each.label.feature)
        for feature in features:
            if feature and self.drift.shifted(feature) and self._is_back(feature):
                self.drift.settled(feature)
                log.info("llmsaver: there is evidence for feature %r again", feature)
            self._renew(feature)

    def _renew(self, feature: str) -> None:
        """Decide thresholds anew after labels came in, off the way of calls; of many labels a few change little."""
        now = time.monotonic()
        with self._lock:
            keys = [key for key in self._bars if not feature or key[0] == feature]
            many = sum(len(kept) for (name, _), kept in self._labels.items() if name == feature) > _MANY
            rest = max(_RENEW_SECONDS, self._took.get(feature, 0.0) / _RENEW_PART)
            if many and now - self._renewed.get(feature, -math.inf) < rest:
                return
            self._renewed[feature] = now
        renewed = {key: self._bar(*key) for key in keys}
        self._took[feature] = time.monotonic() - now
        with self._lock:
            self._bars = {**self._bars, **renewed}

    def _bar(self, feature: str, tier: str, lane: str) -> Bar:
        terms = self._terms
        since = self.drift.watch(feature).since
        if terms.thresholds is not None:
            return Bar("fixed")
        if terms.min_quality is None:
            return Bar("prior, traffic has shifted" if since is not None else "prior", strict=since is not None)
        quality, risk = terms.share
        found = contract(self.labels(feature, tier, lane, since=since), min_quality=quality, risk=risk)
        if isinstance(found, NotEnough):
            return Bar(str(found), serves=False, found=found)
        serves = math.isfinite(found.value)
        return Bar(
            "contract" if serves else f"contract: no threshold keeps {terms.min_quality:.0%} on {found.labels} labels",
            serves,
            found.signal,
            found.value,
            found.quality_low,
            found,
        )

    def _is_back(self, feature: str) -> bool:
        """Return whether there is evidence again since a feature's traffic has shifted."""
        since = self.drift.watch(feature).since
        if since is None:
            return False
        for tier in self._terms.models[:-1]:
            for lane in (WHOLE, PREFIX):
                labels = self.labels(feature, tier, lane, since=since)
                if self._terms.min_quality is not None:
                    quality, risk = self._terms.share
                    if labels and not isinstance(contract(labels, min_quality=quality, risk=risk), NotEnough):
                        return True
                elif len(labels) >= _BACK and _mean_quality(labels) >= _GOOD:
                    return True
        return False


def _told_apart(labels: Sequence[Label]) -> float:
    """Return how often a good answer is more confident than a bad one (the area under the curve); 0.0 unknown."""
    good = [each.confidence for each in labels if each.confidence is not None and each.weak >= each.strong]
    bad = [each.confidence for each in labels if each.confidence is not None and each.weak < each.strong]
    if not good or not bad:
        return 0.0
    won = sum((one > other) + (one == other) / 2 for one in good for other in bad)
    return won / (len(good) * len(bad))


def _mean_quality(labels: Sequence[Label]) -> float:
    """Return the weighted quality of the answers that were accepted: those that say how sure they are."""
    known = [each for each in labels if each.confidence is not None]
    weight = math.fsum(each.weight for each in known)
    return math.fsum(each.weight * each.weak for each in known) / weight if weight else 0.0
