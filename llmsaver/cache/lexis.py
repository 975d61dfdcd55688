"""The words that carry a question's meaning, and how much each of them tells."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Frequencies", "content_words", "stem", "tokens"]

_TOKEN = re.compile(r"\w+(?:['\N{RIGHT SINGLE QUOTATION MARK}]\w+)*|[^\w\s]")
# English words that shape a sentence without saying what it is about; other languages have none here, which costs
# hits and never an answer.
_FUNCTION_WORDS = frozenset(
    """a an the this that these those it its i me my mine we us our you your he him his she her they them their
    to of in on at for from by with about into as and or but if then than so is are was were be been being am
    do does did done have has had having can could will would shall should may might must please
    what which who whom whose when where why how there here no not""".split()  # noqa: SIM905 - a list to read
)
_SUFFIXES = ("ing", "edly", "ed", "ies", "es", "s", "ly")
_SHORTEST_STEM = 3


def tokens(text: str) -> list[str]:
    """Split text into lower-case words and single symbols."""
    return _TOKEN.findall(text.lower())


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return an English word less its inflection, crudely: only ever compared with another word's."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM:
            return word.removesuffix(suffix)
    return word


def content_words(text: str) -> frozenset[str]:
    """Return the stems of the words that are not function words; single letters and digits count."""
    return frozenset(stem(word) for word in tokens(text) if word[0].isalnum() and word not in _FUNCTION_WORDS)


class Frequencies:
    """In how many questions each word occurred: a rare word tells more (inverse document frequency)."""

    def __init__(self, limit: int = 50_000) -> None:
        self._limit = limit
        self._counts: Counter[str] = Counter()
        self._questions = 0

    def add(self, words: Iterable[str]) -> None:
        """Count a question's words; the rarest are forgotten where there are too many."""
        self._questions += 1
        self._counts.update(words)
        if len(self._counts) > self._limit:
            self._counts = Counter(dict(self._counts.most_common(self._limit // 2)))

    def weight(self, word: str) -> float:
        """Return how much a word tells, 0 for one that every question has."""
        return math.log((self._questions + 2) / (self._counts[word] + 1))

    def overlap(self, one: frozenset[str], other: frozenset[str]) -> float:
        """Return the weighted share of words that two questions have in common (Jaccard), 0 to 1."""
        return self._share(one & other, one | other)

    def covered(self, words: frozenset[str], by: frozenset[str]) -> float:
        """Return the weighted share of ``words`` that are in ``by``, 0 to 1."""
        return self._share(words & by, words)

    def _share(self, part: Iterable[str], whole: Iterable[str]) -> float:
        total = sum(map(self.weight, whole))
        return sum(map(self.weight, part)) / total if total else 0.0
