"""Text that is another one in the next request: times, ids and counters, which break a provider's prompt cache.

What was really seen to change between two requests is surest (``changed``); of a single one it is said what looks as if
it will (``suspects``). Only kind and place are told, never the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from llmsaver.prompt.volatile_forms import (
    COUNTER,
    DATE,
    DATE_FORMATS,
    DAY,
    EPOCH,
    FIXED,
    IDS,
    LABELLED_ID,
    LIST_NUMBER,
    NOW,
    ORDINAL,
    STAMP,
    TIME,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Volatile", "changed", "same_end", "suspects"]

_NEAR = timedelta(days=2)
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
    yield from _times(line, now)
    for pattern in IDS:
        for match in pattern.finditer(line):
            if not _said(FIXED, line, match):
                yield "id", *match.span()
    for match in LABELLED_ID.finditer(line):
        yield "id", *match.span("id")
    if not LIST_NUMBER.match(line):
        for match in COUNTER.finditer(line):
            yield "counter", *match.span()


def _times(line: str, now: datetime) -> Iterator[tuple[str, int, int]]:
    for match in STAMP.finditer(line):
        if not _said(FIXED, line, match) or _is_near(match.group(), now):
            yield "timestamp", *match.span()
    for match in DATE.finditer(line):
        if (_said(NOW, line, match) and not _said(FIXED, line, match)) or _is_near(match.group(), now):
            yield "date", *match.span()
    for match in TIME.finditer(line):
        if _said(NOW, line, match) and not _said(FIXED, line, match):
            yield "time", *match.span()
    for match in EPOCH.finditer(line):
        yield "timestamp", *match.span()


def _said(words: re.Pattern[str], line: str, match: re.Match[str]) -> bool:
    """Return whether the words before a match say so."""
    return words.search(line, max(0, match.start() - _BEFORE), match.start()) is not None


def _is_near(text: str, now: datetime) -> bool:
    """Return whether a date is about today's, in one of the usual forms."""
    day = re.search(DAY, text)
    if day is None:
        return False
    plain = " ".join(ORDINAL.sub(" ", day.group()).split())
    for form in DATE_FORMATS:
        try:
            read = datetime.strptime(plain, form)  # noqa: DTZ007 - a day, compared to another
        except ValueError:
            continue
        if abs(read - now.replace(tzinfo=None)) <= _NEAR:
            return True
    return False


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
        ("timestamp", (STAMP, EPOCH)),
        ("date", (DATE,)),
        ("time", (TIME,)),
        ("id", (*IDS, LABELLED_ID)),
        ("counter", (COUNTER, re.compile(r"\d+"))),
    ):
        if any(match.start() <= at < match.end() for pattern in patterns for match in pattern.finditer(line)):
            return kind
    return "text"
