"""Which prefixes of a request a provider should keep, and for how long, by what was seen of such requests before."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.prompt.reuse import Reuse
from llmsaver.prompt.worth import best

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmsaver.prompt.outline import Outline
    from llmsaver.prompt.worth import Tariff

    # A request that was planned: its outline, group, time, and the fewest tokens that are kept.
    _Made = tuple[Outline, str, float, int]

__all__ = ["KEEPS", "Heard", "Plan", "Planner"]

# The chance that a request is followed by another, by its form, before anything is known of its feature: that the same
# tools and instructions are used again; that an agent at work, a conversation, or a first question goes on.
_STATIC, _AGENT, _TALK, _FIRST = 0.4, 0.7, 0.6, 0.15
KEEPS = {"5m": 300.0, "30m": 1800.0, "1h": 3600.0}
# Anthropic looks for a kept prefix in the 20 blocks before a mark.
_LOOK_BACK = 18
_MOST = 20_000
# What is heard of other processes is taken in by so many requests at a time, then others get their turn.
_AT_ONCE, _PAUSE_S = 50, 0.0005
_JOURNAL = 500
# What came while that was taken in is taken in likewise, until it is so little, or so many rounds are over.
_FEW, _ROUNDS = 10, 5
# How many messages a turn may bring for the one before it to be found.
_PASSED = 7


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to keep what never changes (``static``) and the whole request (``tail``); None: not at all.

    ``earlier``: messages, by number, whose end must be marked as well, for what is kept up to there to be found.
    ``expected``: estimated tokens that are there to be read; ``why`` says so in a few words.
    """

    static: str | None = None
    tail: str | None = None
    earlier: Sequence[int] = ()
    expected: int = 0
    why: str = ""

    @property
    def keeps(self) -> bool:
        """Whether anything is marked."""
        return bool(self.static or self.tail or self.earlier)


@dataclass(frozen=True, slots=True)
class Heard:
    """A request that another process made ``at`` some time, and for how long it had its prefixes kept.

    ``outline`` may have the last points only. ``group`` and ``minimum`` are as of ``Planner.plan``.
    """

    at: float
    outline: Outline
    group: str
    minimum: int
    static: str | None = None
    tail: str | None = None


class Planner:
    """Plans by ``reuse``, and remembers what is kept until when; safe in threads. Times are seconds of one clock.

    With ``learns`` it may be told later what other processes did before and do beside this one.
    """

    def __init__(self, reuse: Reuse | None = None, *, learns: bool = False) -> None:
        self._reuse = reuse or Reuse()
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()
        self._learns = learns
        self._journal: deque[_Made] | None = deque(maxlen=_JOURNAL) if learns else None
        # When a request went past a point: one that ended there, and is heard of later, came again by that.
        self._passed: OrderedDict[str, float] = OrderedDict()

    def plan(self, outline: Outline, group: str, tariff: Tariff, now: float, *, minimum: int = 1024) -> Plan:
        """Return what to keep of a request and note that it was made; ``minimum``: the fewest tokens that are kept.

        ``group`` names the requests that are alike, such as a feature's on one model.
        """
        with self._lock:
            reuse = self._reuse
            if self._journal is not None:
                self._journal.append((outline, group, now, minimum))
            if self._learns:
                self._pass(outline, now)
        earlier = _opened(reuse, outline, group, now, minimum)
        if outline.total_tokens < minimum:
            return Plan(why="too short to be kept")
        static = tail = None
        if outline.static_tokens >= minimum:
            static = best(tariff, reuse.likely(outline.static, _statics(group), _STATIC, now))
        tail = best(tariff, reuse.likely(_ended(outline.whole), _tails(group), _prior(outline), now))
        return self._settled(outline, earlier, static, tail, now, minimum)

    def learn(self, requests: Iterable[Heard], now: float) -> int:
        """Take in what other processes did up to ``now``, the oldest first; return how many requests there were.

        The first time they are what was before everything this process did, however late they are heard of. Blocking,
        and gentle to who plans.
        """
        with self._lock:
            first, count = self._journal is not None, 0
        reuse = Reuse() if first else self._reuse
        for count, heard in enumerate(requests, 1):
            self._hear(reuse, heard, now)
            if count % _AT_ONCE == 0:
                time.sleep(_PAUSE_S)
        reuse.known_until = now
        if first:
            self._replay(reuse)
        return count

    def _replay(self, reuse: Reuse) -> None:
        """Take into ``reuse`` what this process did so far, and go on with it; who plans waits for the last few."""
        last = None
        for more in reversed(range(_ROUNDS)):
            with self._lock:
                new = self._since(last)
                if len(new) <= _FEW or not more:
                    _opened_all(reuse, new)
                    self._reuse, self._journal = reuse, None
                    return
            for at in range(0, len(new), _AT_ONCE):
                _opened_all(reuse, new[at : at + _AT_ONCE])
                time.sleep(_PAUSE_S)
            last = new[-1]

    def _since(self, last: _Made | None) -> Sequence[_Made]:
        """Return what was planned after one request, as far as it is remembered; whoever calls this holds the lock."""
        new: list[_Made] = []
        for made in reversed(self._journal or ()):
            if made is last:
                break
            new.append(made)
        return new[::-1]

    def _hear(self, reuse: Reuse, heard: Heard, now: float) -> None:
        """Take in one request of another process."""
        outline = heard.outline
        with self._lock:
            passed = self._passed.get(outline.whole, 0.0)
            self._pass(outline, heard.at)
        if passed > heard.at:
            reuse.followed(_tails(heard.group), passed - heard.at)
        _opened(reuse, outline, heard.group, heard.at, heard.minimum, goes_on=passed > heard.at)
        for prefix, keep in ((outline.static, heard.static), (outline.whole, heard.tail)):
            if keep and heard.at + KEEPS[keep] > now:
                self._remember(prefix, heard.at + KEEPS[keep], keep)

    def _pass(self, outline: Outline, now: float) -> None:
        """Note the points that a request goes past, the last ones; whoever calls this holds the lock."""
        for point in outline.points[-_PASSED:-1]:
            self._passed[point] = max(now, self._passed.pop(point, 0.0))
        while len(self._passed) > _MOST:
            self._passed.popitem(last=False)

    def _settled(
        self,
        outline: Outline,
        earlier: int | None,
        static: str | None,
        tail: str | None,
        now: float,
        minimum: int,
    ) -> Plan:
        """Return the plan with what is there already, which costs nothing to mark and is read at a fraction."""
        there = None if earlier is None else self._alive(outline.points[earlier], now)
        kept_static = self._alive(outline.static, now) if outline.static_tokens >= minimum else None
        static = static or kept_static
        marks: tuple[int, ...] = ()
        if earlier is not None and there is not None:
            behind = sum(outline.blocks[earlier + 1 :])
            if tail is None or behind > _LOOK_BACK:
                marks = (earlier,)
        if tail is not None and outline.static_tokens >= minimum:
            static = static or tail  # it is written with the rest anyway
            static = "1h" if tail == "1h" else static  # what is kept longer comes first
        expected = 0
        if there is not None and earlier is not None:
            expected = outline.tokens[earlier]
        elif kept_static is not None:
            expected = outline.static_tokens
        self._keep(outline, static, tail, marks, now)
        return Plan(static, tail, marks, expected, _why(static, tail, marks, expected))

    def forget(self, outline: Outline) -> None:
        """Note that nothing of a request was kept after all: the provider refused it, or it never got there."""
        with self._lock:
            self._kept.pop(outline.whole, None)

    def _remember(self, prefix: str, until: float, keep: str) -> None:
        """Note until when a prefix is kept by another process's doing, where that is later than by ours."""
        with self._lock:
            if self._kept.get(prefix, (0.0, ""))[0] < until:
                self._kept.pop(prefix, None)
                self._kept[prefix] = (until, keep)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)

    def _alive(self, prefix: str, now: float) -> str | None:
        """Return for how long a prefix was kept, None where it is gone by now."""
        with self._lock:
            until, keep = self._kept.get(prefix, (0.0, ""))
            return keep if keep and now <= until else None

    def _keep(self, outline: Outline, static: str | None, tail: str | None, marks: Iterable[int], now: float) -> None:
        kept: list[tuple[str, str | None]] = [(outline.static, static), (outline.whole, tail)]
        with self._lock:
            kept += [(outline.points[at], self._kept.get(outline.points[at], (0.0, ""))[1]) for at in marks]
            for prefix, keep in kept:
                if keep:
                    self._kept.pop(prefix, None)
                    self._kept[prefix] = (now + KEEPS[keep], keep)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)


def _opened_all(reuse: Reuse, requests: Iterable[_Made]) -> None:
    for outline, group, at, minimum in requests:
        _opened(reuse, outline, group, at, minimum)


def _opened(
    reuse: Reuse, outline: Outline, group: str, now: float, minimum: int, *, goes_on: bool = False
) -> int | None:
    """Note in ``reuse`` that a request was made; return the last message at which an earlier one ended.

    ``goes_on``: a longer one that followed is known already, so that there is no end here.
    """
    earlier = None
    for at in range(len(outline.points) - 1, -1, -1):
        if reuse.last(_ended(outline.points[at])) is not None:
            earlier = at
            break
    if outline.static_tokens >= minimum:
        reuse.opened(outline.static, _statics(group), now)
    extends = None if earlier is None else _ended(outline.points[earlier])
    if goes_on:
        reuse.came(extends, now)
    else:
        reuse.opened(_ended(outline.whole), _tails(group), now, extends=extends)
    return earlier


def _statics(group: str) -> str:
    return f"static {group}"


def _tails(group: str) -> str:
    return f"tail {group}"


def _ended(point: str) -> str:
    """Return the name of a prefix at which a request ended: instructions may be messages, and are counted apart."""
    return f"tail {point}"


def _prior(outline: Outline) -> float:
    if outline.tools:
        return _AGENT
    return _TALK if outline.turns else _FIRST


def _why(static: str | None, tail: str | None, marks: Sequence[int], expected: int) -> str:
    parts = []
    if static:
        parts.append(f"tools and instructions kept {static}")
    if tail:
        parts.append(f"messages kept {tail}")
    if marks and not tail:
        parts.append("earlier messages read only")
    if expected:
        parts.append(f"about {expected:,} tokens to be read")
    return ", ".join(parts) or "not likely to be asked for again"
