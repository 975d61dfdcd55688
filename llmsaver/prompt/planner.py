"""Which prefixes of a request a provider should keep, and for how long, by what was seen of such requests before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.prompt.reuse import Reuse
from llmsaver.prompt.worth import best

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmsaver.prompt.outline import Outline
    from llmsaver.prompt.worth import Tariff

__all__ = ["Plan", "Planner"]

# The chance that a request is followed by another, by its form, before anything is known of its feature: that the same
# tools and instructions are used again; that an agent at work, a conversation, or a first question goes on.
_STATIC, _AGENT, _TALK, _FIRST = 0.4, 0.7, 0.6, 0.15
_SECONDS = {"5m": 300.0, "30m": 1800.0, "1h": 3600.0}
# Anthropic looks for a kept prefix in the 20 blocks before a mark.
_LOOK_BACK = 18
_MOST = 20_000


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


class Planner:
    """Plans by ``reuse``, and remembers what is kept until when; safe in threads. Times are seconds of one clock."""

    def __init__(self, reuse: Reuse | None = None) -> None:
        self._reuse = reuse or Reuse()
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()

    def plan(self, outline: Outline, group: str, tariff: Tariff, now: float, *, minimum: int = 1024) -> Plan:
        """Return what to keep of a request and note that it was made; ``minimum``: the fewest tokens that are kept.

        ``group`` names the requests that are alike, such as a feature's on one model.
        """
        statics, tails = f"static {group}", f"tail {group}"
        earlier = self._reuse_point(outline)
        if outline.static_tokens >= minimum:
            self._reuse.opened(outline.static, statics, now)
        extends = None if earlier is None else _ended(outline.points[earlier])
        self._reuse.opened(_ended(outline.whole), tails, now, extends=extends)
        if outline.total_tokens < minimum:
            return Plan(why="too short to be kept")
        static = tail = None
        if outline.static_tokens >= minimum:
            static = best(tariff, self._reuse.likely(outline.static, statics, _STATIC, now))
        chances = self._reuse.likely(_ended(outline.whole), tails, _prior(outline), now)
        tail = best(tariff, chances)
        return self._settled(outline, earlier, static, tail, now, minimum)

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

    def _reuse_point(self, outline: Outline) -> int | None:
        """Return the last message at which an earlier request ended."""
        for at in range(len(outline.points) - 1, -1, -1):
            if self._reuse.last(_ended(outline.points[at])) is not None:
                return at
        return None

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
                    self._kept[prefix] = (now + _SECONDS[keep], keep)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)


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
