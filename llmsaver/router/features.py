"""What can be told of a question from its surface alone: hashed words and letters, and its shape; no text is kept."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LEVELS", "PIECES", "SHAPES", "SHAPE_FROM", "WORDS", "hashed"]

# Buckets for words (and pairs of them) and for pieces of words: few enough that a bucket names no word. Each has two
# numbers, one for tokens that count up and one for those that count down, so that tokens that meet in one cancel out.
WORDS, PIECES = 8192, 4096
# The shape's numbers begin here.
SHAPE_FROM = 2 * (WORDS + PIECES)
# Steps in which each number of the shape is told.
LEVELS = 256
# Of a longer text the first and the last half of so many characters are read: 0.6 ms.
_READ = 3_000
_WORDS = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
_OPTION = re.compile(r"^\(?[A-Ja-j1-9][.:)]\s*(.*)", re.MULTILINE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_NEGATION = re.compile(r"\b(?:not|except|least|incorrect|false|never|nicht|kein|pas|aucun|ningun|non)\b", re.IGNORECASE)
_ALL = re.compile(r"\b(?:all|none|both|neither) of\b|\bcannot be\b", re.IGNORECASE)
_SIGNS = frozenset("+-*/=^<>$\\_{}()[]%|~")
_FORMULA = frozenset("+-*/=^<>")

# The numbers of a shape and the greatest value of each that is told apart.
SHAPES: tuple[tuple[str, float], ...] = (
    ("characters", 10.0),
    ("words", 8.0),
    ("numbers", 5.0),
    ("digits", 1.0),
    ("signs", 1.0),
    ("capitals", 1.0),
    ("word length", 12.0),
    ("options", 12.0),
    ("option length", 8.0),
    ("lines", 6.0),
    ("questions", 4.0),
    ("commas", 5.0),
    ("quotes", 4.0),
    ("gap", 1.0),
    ("negation", 1.0),
    ("statements", 1.0),
    ("largest number", 20.0),
    ("variety", 1.0),
    ("all of the above", 1.0),
    ("formula", 1.0),
    ("beyond ASCII", 1.0),
)


def hashed(text: str) -> tuple[int, ...]:
    """Return the features of a question as numbers, rising, repeated where they occur again; the same everywhere.

    Below ``2 * WORDS`` words and pairs of neighbours, from there to ``SHAPE_FROM`` pieces of three and four letters
    (``at // 2`` is the bucket, an odd number counts down), then one number for each of ``SHAPES``:
    ``SHAPE_FROM + at * LEVELS + level``.
    """
    if len(text) > _READ:
        text = text[: _READ // 2] + "\n" + text[-_READ // 2 :]
    words = _WORDS.findall(text.lower())
    told = [_number(word, WORDS) for word in words]
    told += [_number(f"{one} {two}", WORDS) for one, two in pairwise(words)]
    known: dict[str, list[int]] = {}
    for word in words:
        if word not in known:
            known[word] = [2 * WORDS + _number(piece, PIECES) for piece in _pieces(word)]
        told += known[word]
    told += (
        SHAPE_FROM + at * LEVELS + min(LEVELS - 1, max(0, round(value / most * (LEVELS - 1))))
        for at, (value, (_, most)) in enumerate(zip(_shape(text, words), SHAPES, strict=True))
    )
    return tuple(sorted(told))


def _number(token: str, buckets: int) -> int:
    code = crc32(token.encode("utf-8", "replace"))
    return 2 * (code % buckets) + (code >> 20 & 1)


def _pieces(word: str) -> Iterator[str]:
    framed = f"<{word[:40]}>"
    for size in (3, 4):
        for at in range(max(1, len(framed) - size + 1)):
            yield framed[at : at + size]


def _shape(text: str, words: list[str]) -> tuple[float, ...]:
    """Return the numbers that ``SHAPES`` names, in their order."""
    letters = [word for word in words if word[0].isalpha()]
    numbers = _NUMBER.findall(text)
    options = _OPTION.findall(text)
    size = max(1, len(text))
    # Longer ones say no more, and some have a thousand digits.
    largest = max((float(number[:15]) for number in numbers), default=0.0)
    return (
        math.log1p(len(text)),
        math.log1p(len(letters)),
        math.log1p(len(numbers)),
        math.sqrt(sum(map(str.isdigit, text)) / size),
        math.sqrt(sum(each in _SIGNS for each in text) / size),
        math.sqrt(sum(map(str.isupper, text)) / size),
        sum(map(len, letters)) / max(1, len(letters)),
        float(len(options)),
        math.log1p(sum(map(len, options)) / max(1, len(options))),
        math.log1p(text.count("\n")),
        float(text.count("?")),
        math.log1p(text.count(",")),
        math.log1p(sum(text.count(each) for each in '"“”')),
        float("__" in text),
        float(_NEGATION.search(text) is not None),
        float("Statement" in text),
        math.log1p(largest),
        len(set(letters)) / max(1, len(letters)),
        float(_ALL.search(text) is not None),
        float(any(each in _FORMULA for each in text)),
        float(not text.isascii()),
    )
