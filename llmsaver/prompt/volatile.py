"""Text that is another one in the next request: times, ids and counters, which break a provider's prompt cache.

What was really seen to change between two requests is surest (``changed``); of a single one it is said what looks as if
it will (``suspects``). Only kind and place are told, never the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.prompt.volatile_dates import COMPACT, DATE, EPOCH, MONTH, STAMP, TIME, WEEK, WEEKDAY, is_near
from llmsaver.prompt.volatile_forms import (
    COUNTER,
    EXAMPLE,
    FIXED,
    IDS,
    LABELLED_ID,
    LASTING,
    LIMITED,
    LIST_NUMBER,
    NOW,
    is_random,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

__all__ = ["Volatile", "changed", "same_end", "suspects"]

_A_DAY = re.compile(rf"(?<![^\W\d_]){WEEKDAY}(?![^\W\d_])")
_DIGIT = re.compile(r"\d")
_TIMES = (("timestamp", (STAMP, EPOCH)), ("date", (DATE, COMPACT, WEEK, MONTH, _A_DAY)), ("time", (TIME,)))
# How much of a line before a time or an id is read for what it says of it.
_BEFORE = 60


@dataclass(frozen=True, slots=True)
class Volatile:
    """A stretch of text that changes; ``line`` counts from 1.

    ``kind``: "timestamp", "date", "time", "id", "counter" or "text".
    """

    kind: str
    line: int
    start: int
    end: int


def suspects(text: str, now: datetime) -> list[Volatile]:
    """Return what in a text looks as if it changes with each request, in its order; ``now`` tells today's date."""
    found: list[Volatile] = []
    at = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        taken = 0
        for kind, start, end in sorted(_in_line(line, now), key=lambda each: (each[1], -each[2])):
            if start >= taken:
                found.append(Volatile(kind, number, at + start, at + end))
                taken = end
        at += len(line)
    return found


def _in_line(line: str, now: datetime) -> Iterator[tuple[str, int, int]]:
    if not _DIGIT.search(line):  # as most lines have none, this is nearly all the time it takes
        yield from (("date", *match.span()) for match in _A_DAY.finditer(line) if _said(NOW, line, match))
        return
    yield from _times(line, now)
    for form, pattern in enumerate(IDS):
        for match in pattern.finditer(line):
            if not (_is_fixed(line, match) or _said(LASTING, line, match)) and is_random(form, match.group()):
                yield "id", *match.span()
    for match in LABELLED_ID.finditer(line):
        if not _is_fixed(line, match):
            yield "id", *match.span("id" if match["id"] else "bare")
    if not LIST_NUMBER.match(line):
        for match in COUNTER.finditer(line):
            if not LIMITED.search(line, max(0, match.start() - _BEFORE), match.end()):
                yield "counter", *match.span()


def _times(line: str, now: datetime) -> Iterator[tuple[str, int, int]]:
    for kind, patterns in _TIMES:
        for pattern in patterns:
            for match in pattern.finditer(line):
                said_now = pattern is STAMP or _said(NOW, line, match)
                near = is_near(match.group(), now)
                if pattern is MONTH:  # any month is named now and then, this one too
                    near = said_now = near and said_now
                if near or (said_now and not _is_fixed(line, match)):
                    yield kind, *match.span()


def _is_fixed(line: str, match: re.Match[str]) -> bool:
    return _said(FIXED, line, match) or EXAMPLE.match(line) is not None


def _said(words: re.Pattern[str], line: str, match: re.Match[str]) -> bool:
    """Return whether the words before a match say so."""
    return words.search(line, max(0, match.start() - _BEFORE), match.start()) is not None


def changed(before: str, after: str) -> Volatile | None:
    """Return the first that differs in ``after`` from the text before, None where one is the other's beginning."""
    if before.startswith(after) or after.startswith(before):
        return None
    start = next(at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other)
    line = after.count("\n", 0, start) + 1
    begins = after.rfind("\n", 0, start) + 1
    ends = after.find("\n", start)
    ends = len(after) if ends < 0 else ends
    old = before[before.rfind("\n", 0, start) + 1 :].partition("\n")[0]
    end = ends - same_end(old[start - begins :], after[start:ends])
    near = slice(max(begins, start - _BEFORE), min(ends, start + _BEFORE))
    return Volatile(_kind(after[near], start - near.start), line, start, max(start, end))


def same_end(one: str, other: str) -> int:
    """Return how many characters two texts share at their ends."""
    shortest = min(len(one), len(other))
    return next((at for at in range(shortest) if one[-1 - at] != other[-1 - at]), shortest)


def _kind(line: str, at: int) -> str:
    """Return the kind of what changed at a place of a line, by its form alone: that it changes is known."""
    for kind, patterns in (
        *_TIMES,
        ("id", (*IDS, LABELLED_ID)),
        ("counter", (COUNTER, re.compile(r"\d+"))),
    ):
        if any(match.start() <= at < match.end() for pattern in patterns for match in pattern.finditer(line)):
            return kind
    return "text"
