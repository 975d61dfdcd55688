"""Answers that go round in circles: the same words, or the same line, over and over."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.router.views import Answer, Asked

__all__ = ["loop", "repeated"]

# The end of an answer is where a loop is: models rarely find out of one.
_WINDOW = 240
_LONGEST = 60
# (up to so many tokens in the piece, so often at least, over at least so many tokens)
_RULES = ((1, 16, 16), (4, 8, 24), (12, 5, 36), (_LONGEST, 3, 75))
# A loop leaves few different words in the window; most answers are told apart by this alone.
_VARIED = 0.45
_LINES, _LINE_SHARE = 8, 0.5
_LINE_WORDS = 3
# Letters of scripts without blanks are tokens of their own.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_NUMBERING = re.compile(r"^\W*(?:step\s+)?\d*[.):]?\s*", re.IGNORECASE)
# Who asks for it gets it, and songs and lists of values are made of it.
_ASKED_FOR = re.compile(
    r"\brepeat|\b(?:times|in a row|chorus|lyrics|song|poem|mantra|lorem|placeholder|dummy|pattern|ascii)\b"
    r"|wiederhol|\bmal\b|r\u00e9p\u00e8t|\bfois\b|repit|\bveces\b|ripet|\bvolte\b|\bvezes\b|herhaal|\bkeer\b"
    r"|\u043f\u043e\u0432\u0442\u043e\u0440|\u91cd\u590d|\u91cd\u8907|\u7e70\u308a\u8fd4|\ubc18\ubcf5",
    re.IGNORECASE,
)


def loop(asked: Asked, answer: Answer) -> str | None:
    """Return why an answer is rejected for repeating itself; None where it does not, or was asked to."""
    why = repeated(answer.text)
    return None if why is not None and _ASKED_FOR.search(asked.text) else why


def repeated(text: str) -> str | None:
    """Return what a text repeats at its end, or in most of its lines, in words; None where it repeats nothing.

    Repeated means 16 times for one word, 8 times for up to 4, 5 times for up to 12 and 3 times for up to 60 words;
    what holds no letters (rules of a table, zeros of a matrix) and what stands in code does not count.
    """
    prose = text.rpartition("```")[2] if text.count("```") % 2 == 0 else ""
    tokens = _TOKEN.findall(prose[-20 * _WINDOW :])[-_WINDOW:]
    if len(tokens) >= _RULES[0][1] and len(set(tokens)) <= _VARIED * len(tokens):
        for period in range(1, min(_LONGEST, len(tokens) // 2) + 1):
            if (times := _times(tokens, period)) and _worded(tokens[-period:]):
                return f"it repeats a piece of {period} word{'s'[: period > 1]} {times} times at its end"
    return _lines(prose)


def _times(tokens: Sequence[str], period: int) -> int:
    """Return how often the last ``period`` tokens are repeated at the end, 0 where that is not yet a loop."""
    run = period
    while run < len(tokens) and tokens[-run - 1] == tokens[-run - 1 + period]:
        run += 1
    _, times, long = next(rule for rule in _RULES if period <= rule[0])
    return run // period if run >= max(times * period, long) else 0


def _worded(tokens: Sequence[str]) -> bool:
    return sum(char.isalpha() for token in tokens for char in token) > len(tokens) // 2


def _lines(text: str) -> str | None:
    """Return which line is most of a text, numbered or not."""
    lines = [_NUMBERING.sub("", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) < _LINES:
        return None
    line, times = Counter(lines).most_common(1)[0]
    if times < max(_LINES, _LINE_SHARE * len(lines)) or len(line.split()) < _LINE_WORDS or "|" in line:
        return None
    return f"it repeats one line {times} times"
