"""How likely a prefix is asked for again, and how soon: counted per prefix and per group, from a cautious beginning.

Every request opens its prefixes anew. Counted is what comes again before the first horizon, then what comes between
one horizon and the next of all that did not come before: so what is too young to tell of the long horizons does not
make them look better than they are. Each probability is the mean of a Beta distribution that begins at the group's, and
the group's at a prior. A prefix opened a moment ago counts as a quarter of a failure until its fate is known, so that a
burst of requests that never come again is paid for a dozen times at most.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HORIZONS", "Reuse"]

# Seconds for which providers keep a prefix: Anthropic 5 minutes or an hour, OpenAI half an hour.
HORIZONS = (300.0, 1800.0, 3600.0)
_ALL = len(HORIZONS)
# How many observations a prior is worth: the form's for a group, the group's for a prefix; and what an open one counts.
_FORM_WEIGHT, _GROUP_WEIGHT, _OPEN_WEIGHT = 2.0, 2.0, 0.25
# The chance that what did not come before a horizon comes before the next one, and what that prior is worth.
_LATE, _LATE_WEIGHT = 0.1, 4.0
_MOST = 20_000
# How many times as much as is remembered may wait, before what is of no use any more is looked for.
_SLACK = 2


@dataclass(slots=True)
class _Counts:
    """How many reached each stage (before the first horizon, between two), how many came again there, and are open."""

    reached: list[int] = field(default_factory=lambda: [0] * _ALL)
    came: list[int] = field(default_factory=lambda: [0] * _ALL)
    open: int = 0

    def stages(self, priors: Sequence[float], weights: Sequence[float]) -> list[float]:
        """Return the probability of each stage, given that it is reached."""
        opened = [_OPEN_WEIGHT * self.open, *([0.0] * (_ALL - 1))]
        rows = zip(priors, weights, self.came, self.reached, opened, strict=True)
        return [(weight * prior + came) / (weight + reached + young) for prior, weight, came, reached, young in rows]


@dataclass(slots=True)
class _Opening:
    """A prefix as it was last asked for; ``decided``: for how many horizons, the shortest first, its fate is known."""

    group: str
    at: float
    counts: _Counts = field(default_factory=_Counts)
    decided: int = 0


class Reuse:
    """Remembers at most ``most`` prefixes; safe in threads. Times are seconds of one clock, which the caller reads."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        # What others did is known up to then: nothing counts as not come again before that is known.
        self.known_until = float("inf")
        self._lock = threading.Lock()
        self._openings: OrderedDict[str, _Opening] = OrderedDict()
        self._groups: OrderedDict[str, _Counts] = OrderedDict()
        self._waiting: tuple[list[tuple[float, str]], ...] = tuple([] for _ in HORIZONS)

    def last(self, prefix: str) -> float | None:
        """Return when a prefix was last asked for, None where it never was."""
        with self._lock:
            found = self._openings.get(prefix)
            return None if found is None else found.at

    def opened(self, prefix: str, group: str, now: float, *, extends: str | None = None) -> None:
        """Note that a prefix is asked for; ``extends``: the earlier, shorter one that came again by this.

        What another process did is heard of late: a ``now`` before the last opening's was followed by that one.
        """
        with self._lock:
            self._expire(now)
            opening = self._openings.pop(prefix, None)
            if opening is not None and opening.at > now:
                self._openings[prefix] = opening
                self._counted(opening, opening.at - now, 0)
                return
            if opening is not None:
                self._came(opening, now)
            elif extends is not None and extends in self._openings:
                grown = self._openings.pop(extends)
                self._came(grown, now)
                opening = _Opening(group, now, grown.counts)
            else:
                opening = _Opening(group, now)
            opening.at, opening.decided = now, 0
            self._openings[prefix] = opening
            self._counts(group).open += 1
            for waiting in self._waiting:
                heappush(waiting, (now, prefix))
            self._sweep()
            while len(self._openings) > self._most:
                _, forgotten = self._openings.popitem(last=False)
                self._closed(forgotten)

    def came(self, prefix: str | None, now: float) -> None:
        """Note that a prefix came again by a longer one, whose own opening is not to be counted."""
        with self._lock:
            opening = None if prefix is None else self._openings.pop(prefix, None)
            if opening is not None:
                self._came(opening, now)

    def followed(self, group: str, gap: float) -> None:
        """Note that something of a group came again after ``gap`` seconds, however long ago that was."""
        with self._lock:
            self._counted(_Opening(group, 0.0), gap, 0)

    def likely(self, prefix: str, group: str, prior: float, now: float) -> Sequence[float]:
        """Return the probability that a prefix is asked for again within each of ``HORIZONS``."""
        with self._lock:
            self._expire(now)
            opening = self._openings.get(prefix)
            weights = [_FORM_WEIGHT, *([_LATE_WEIGHT] * (_ALL - 1))]
            stages = (self._groups.get(group) or _Counts()).stages([prior, *([_LATE] * (_ALL - 1))], weights)
            if opening is not None:
                stages = opening.counts.stages(stages, [_GROUP_WEIGHT] * _ALL)
        missed, chances = 1.0, []
        for stage in stages:
            missed *= 1 - stage
            chances.append(1 - missed)
        return chances

    def _sweep(self) -> None:
        """Drop from the longest heap, once it is long, what was asked for again or forgotten since.

        ``known_until`` may stand still for long, and nothing expires then. One heap at a time, for who waits.
        """
        waiting = max(self._waiting, key=len)
        if len(waiting) <= _SLACK * self._most:
            return
        openings = self._openings
        waiting[:] = [each for each in waiting if each[1] in openings and openings[each[1]].at == each[0]]
        heapify(waiting)

    def _counts(self, group: str) -> _Counts:
        counts = self._groups.get(group)
        if counts is None:
            counts = self._groups[group] = _Counts()
            if len(self._groups) > self._most:
                self._groups.popitem(last=False)
        return counts

    def _came(self, opening: _Opening, now: float) -> None:
        """Count an opening that came again, in the stages that had not passed."""
        self._counted(opening, now - opening.at, opening.decided)
        self._closed(opening)

    def _counted(self, opening: _Opening, gap: float, first: int) -> None:
        for at in range(first, _ALL):
            for counts in (opening.counts, self._counts(opening.group)):
                counts.reached[at] += 1
                counts.came[at] += gap <= HORIZONS[at]
            if gap <= HORIZONS[at]:
                break

    def _closed(self, opening: _Opening) -> None:
        if opening.decided < _ALL:
            opening.decided = _ALL
            counts = self._counts(opening.group)
            counts.open = max(0, counts.open - 1)

    def _expire(self, now: float) -> None:
        """Count the openings that a horizon has passed as failures for it."""
        now = min(now, self.known_until)
        for at, waiting in enumerate(self._waiting):
            while waiting and now - waiting[0][0] > HORIZONS[at]:
                when, prefix = heappop(waiting)
                opening = self._openings.get(prefix)
                if opening is None or opening.at != when or opening.decided > at:
                    continue
                for counts in (opening.counts, self._counts(opening.group)):
                    counts.reached[at] += 1
                if at + 1 == _ALL:
                    self._closed(opening)
                opening.decided = at + 1
