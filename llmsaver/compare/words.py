"""Two texts as words: equal, how much of one is in the other, and what a small word or number turns around."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from decimal import Decimal

__all__ = ["code_differs", "exact", "negations_differ", "numbers_differ", "token_f1"]

_ARTICLES = frozenset({"a", "an", "the"})
# Scripts that put no blanks between words count letter by letter, as multilingual versions of the measure do.
_UNSPACED = re.compile(r"([\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
# A minus belongs to a number where no letter, digit or bracket is before it: "3-5" and "2026-11" hold none.
_NUMBER = re.compile(r"(?:(?<![\w.)\]])[-\u2212])?\d+(?:,\d{3}(?!\d))*(?:\.\d+)?(?:[eE][+-]?\d{1,3}(?![\w.]))?")
_WORDS = re.compile(r"\w+")
_WRITTEN = {
    word: Decimal(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
}
_NEGATIONS = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|nowhere|neither|nor|without|cannot|false)\b|n['\u2019]t\b", re.IGNORECASE
)


def exact(one: str, other: str) -> bool:
    """Tell whether two texts are equal once every run of white space counts as one blank, and none at the ends."""
    return one == other or one.split() == other.split()


def token_f1(one: str, other: str) -> float:
    """Return the harmonic mean of the shares of words that two texts have in common, 0.0 to 1.0, whatever their order.

    As SQuAD's evaluation defines it (Rajpurkar et al. 2016): lower case, without punctuation and articles, each word as
    often as it is there. Texts without any word score 1.0 where they are equal, else 0.0.
    """
    left, right = _tokens(one), _tokens(other)
    if not left and not right:
        return float(exact(one, other))
    common = (Counter(left) & Counter(right)).total()
    return 2 * common / (len(left) + len(right))


def numbers_differ(one: str, other: str) -> bool:
    """Tell whether a number of one text is missing in the other; 1,000 is 1000, 3.0 is 3 and three.

    "One" may be no number at all: it answers for a 1, and asks for none.
    """
    (left, left_one), (right, right_one) = _numbers(one), _numbers(other)
    return bool(left - right - right_one or right - left - left_one)


def negations_differ(one: str, other: str) -> bool:
    """Tell whether one text says "not" (or no, never, without, ...) more often than the other."""
    return len(_NEGATIONS.findall(one)) != len(_NEGATIONS.findall(other))


def code_differs(one: str, other: str) -> bool:
    """Tell whether the fenced blocks of code differ by more than white space: words alone would not see operators."""
    return _blocks(one) != _blocks(other)


def _blocks(text: str) -> list[list[str]]:
    """Return the words of every fenced block, without the language's name."""
    return [block.partition("\n")[2].split() for block in text.split("```")[1::2]]


def _tokens(text: str) -> list[str]:
    kept = "".join(letter for letter in text.lower() if not unicodedata.category(letter).startswith("P"))
    return [word for word in _UNSPACED.sub(r" \1 ", kept).split() if word not in _ARTICLES]


def _numbers(text: str) -> tuple[set[Decimal], set[Decimal]]:
    """Return the numbers for certain, in digits or words, and those that may be meant."""
    found = {Decimal(each.replace(",", "").replace("\u2212", "-")) for each in _NUMBER.findall(text)}
    words = {_WRITTEN[word] for word in _WORDS.findall(text.lower()) if word in _WRITTEN}
    perhaps = words & {Decimal(1)}
    return found | (words - perhaps), perhaps
