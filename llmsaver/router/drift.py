"""Whether a feature's traffic is still what its thresholds were made on."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

from llmsaver.router.watch_rows import WORDS, row_of, sequences_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Drift", "Watch", "distance", "numbered"]

# Calls that make a reference, and calls of late that are held against it.
REFERENCE, WINDOW = 200, 60
# One false alarm in about ten thousand looks, each of which sees a window that is a quarter new.
ALPHA = 1e-5
_EVERY = WINDOW // 4
_WORDS = 20_000
# So many words of a question are looked at for how new it is.
_READ = 200
_SEEN = ("confidences", "escalations", "novelties", "late_confidences", "late_escalations", "late_novelties")


@dataclass(slots=True)
class Watch:
    """One feature: how often it escalated, how confident answers were and how new its questions, then and lately.

    ``since``: when a shift was seen (seconds since the epoch), None while all is as it was; ``what`` says which.
    ``began``: when the reference was begun anew, 0 for a feature's first one.
    """

    confidences: list[float] = field(default_factory=list)
    escalations: list[bool] = field(default_factory=list)
    novelties: list[float] = field(default_factory=list)
    late_confidences: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    late_escalations: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    late_novelties: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    words: set[int] = field(default_factory=set)
    since: float | None = None
    what: str = ""
    calls: int = 0
    began: float = 0.0


class Drift:
    """Watches features; thread-safe. A shift stays until ``settled`` says that evidence is back."""

    def __init__(self, reference: int = REFERENCE) -> None:
        self._reference = reference
        self._watches: dict[str, Watch] = {}
        self._lock = threading.Lock()

    def watch(self, feature: str) -> Watch:
        """Return what is known of a feature."""
        with self._lock:
            return self._watch(feature)

    def shifted(self, feature: str) -> bool:
        """Return whether a feature's traffic has shifted and no evidence has come since."""
        watch = self._watches.get(feature)
        return watch is not None and watch.since is not None

    def see(self, feature: str, confidence: float | None, words: Iterable[int], *, escalated: bool) -> str | None:
        """Take in one judged call, ``words`` as numbers; return what has shifted, once, else None."""
        with self._lock:
            watch = self._watch(feature)
            watch.calls += 1
            # Measured against the words of the first calls alone: a vocabulary that grew would make all later ones old.
            novelty = _novelty(watch.words, set(words), learn=watch.calls <= self._reference // 2)
            if len(watch.escalations) < self._reference:
                watch.escalations.append(escalated)
                if watch.calls > self._reference // 2:  # by then a feature's own words are known
                    watch.novelties.append(novelty)
                if confidence is not None:
                    watch.confidences.append(confidence)
                return None
            watch.late_escalations.append(escalated)
            watch.late_novelties.append(novelty)
            if confidence is not None:
                watch.late_confidences.append(confidence)
            if watch.since is not None or len(watch.late_escalations) < WINDOW or watch.calls % _EVERY:
                return None
            watch.what = _difference(watch)
            if not watch.what:
                return None
            watch.since = time.time()
            return watch.what

    def settled(self, feature: str) -> None:
        """Take the traffic of late as the new normal: there is evidence for its thresholds again."""
        with self._lock:
            old = self._watch(feature)
            self._watches[feature] = Watch(words=old.words, began=time.time())

    def merged(self, feature: str, told: Mapping[str, Any]) -> dict[str, Any]:
        """Take over what another process, or an earlier one, has seen where that is more; return it as JSON has it.

        The latest reference counts, of one that is under way the part that has gone further; of equals a shift that
        either has seen. ``told``: what ``merged`` returned there, anything else is passed over.
        """
        given = _told(told)
        with self._lock:
            watch = self._watch(feature)
            if given is not None and self._is_ahead(given, watch):
                watch = self._watches[feature] = given
            elif given is not None and given.began == watch.began and watch.since is None and given.since is not None:
                watch.since, watch.what = given.since, given.what
            numbers = {name: getattr(watch, name) for name in ("calls", "began", "since", "what")}
            return {**numbers, **row_of({name: getattr(watch, name) for name in _SEEN}, watch.words)}

    def after_fork(self) -> None:
        """Make good in a forked child, whose parent may have been at it."""
        self._lock = threading.Lock()

    def _is_ahead(self, given: Watch, watch: Watch) -> bool:
        if given.began != watch.began:
            return given.began > watch.began
        return len(watch.escalations) < self._reference and len(given.escalations) > len(watch.escalations)

    def _watch(self, feature: str) -> Watch:
        return self._watches.setdefault(feature, Watch())


def numbered(text: str) -> set[int]:
    """Return the words a text begins with as numbers, the same in every process; too few numbers to name words."""
    words = text[: 20 * _READ].lower().split()[:_READ]
    return {crc32(word.encode(errors="surrogatepass")) % WORDS for word in words}


def distance(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return how far two samples are apart and how likely that is by chance (Kolmogorov-Smirnov, asymptotic)."""
    if not one or not other:
        return 0.0, 1.0
    ordered = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    sizes, seen, most = (len(one), len(other)), [0, 0], 0.0
    for at, (value, which) in enumerate(ordered):
        seen[which] += 1
        if at + 1 == len(ordered) or ordered[at + 1][0] != value:
            most = max(most, abs(seen[0] / sizes[0] - seen[1] / sizes[1]))
    scale = math.sqrt(sizes[0] * sizes[1] / (sizes[0] + sizes[1]))
    return most, min(1.0, 2 * math.exp(-2 * (scale * most) ** 2))


def _difference(watch: Watch) -> str:
    """Return which of the three has shifted; "" where none has."""
    before, late = _share(watch.escalations), _share(watch.late_escalations)
    pairs = [
        ("the confidence of answers", watch.confidences, list(watch.late_confidences)),
        ("how new questions are", watch.novelties, list(watch.late_novelties)),
    ]
    if _unlikely(before, len(watch.escalations), late, len(watch.late_escalations)):
        return f"the escalation rate went from {before:.0%} to {late:.0%}"
    for what, then, now in pairs:
        far, chance = distance(then, now)
        if chance < ALPHA:
            return f"{what} has shifted (distance {far:.2f})"
    return ""


def _unlikely(before: float, many: int, late: float, few: int) -> bool:
    """Return whether two shares differ by more than chance explains (normal approximation, pooled, one per side)."""
    pooled = (before * many + late * few + 1) / (many + few + 2)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / many + 1 / few))
    return math.erfc(abs(before - late) / spread / math.sqrt(2)) < ALPHA


def _share(flags: Sequence[bool] | deque[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def _novelty(known: set[int], words: set[int], *, learn: bool) -> float:
    """Return the share of words that are not known, and learn them if told to."""
    new = words - known
    if learn and len(known) < _WORDS:
        known |= new
    return len(new) / len(words) if words else 0.0


def _told(told: Mapping[str, Any]) -> Watch | None:
    """Return the watch that was written so; None for what is none."""
    found = sequences_of(told, _SEEN)
    calls, began, since = (told.get(name) for name in ("calls", "began", "since"))
    if found is None or type(calls) is not int or not _is_time(began) or not (since is None or _is_time(since)):
        return None
    seen, words = found
    watch = Watch(words=words, since=since, what=str(told.get("what", "")), calls=calls, began=float(began or 0.0))
    for name, values in seen.items():
        getattr(watch, name).extend(values)
    return watch


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and isinstance(value, int | float) and math.isfinite(value)
