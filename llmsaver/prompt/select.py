"""Which sentences of retrieved passages a question needs, without a model: BM25 and what passages tell beside it.

BM25 (Robertson and Zaragoza, 2009) over stems; a title's words count as said in each sentence of its passage; what is
near a good sentence, opens a good passage, or belongs to one, is lifted; and a passage whose whole title is named in
the best sentences is the second hop of a question that needs two. The weights were chosen on half of the HotpotQA
questions of the benchmark and lie on a plateau: each may be halved or doubled for two points at most.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmsaver.prompt.stems import STOP, stems

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Passage", "ranked", "within"]

_K1, _B = 1.2, 0.4
_NEAR, _WHOLE, _LEAD = 0.3, 0.3, 0.3
_SEEDS, _HOP = 5, 0.8


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrieved text: its title, or "", and its sentences in order."""

    title: str
    sentences: Sequence[str]


@dataclass(slots=True)
class _Sentence:
    passage: int
    number: int
    words: list[str]
    said: set[str]
    base: float = 0.0
    score: float = 0.0


@dataclass(slots=True)
class _Search:
    """A question over passages: the sentences, how rare each word is, and what was asked for."""

    asked: list[str]
    titles: list[list[str]]
    sentences: list[_Sentence] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)

    def rarity(self, word: str) -> float:
        """Return the inverse document frequency of a word, each sentence being a document."""
        count = self.found[word]
        return math.log(1 + (len(self.sentences) - count + 0.5) / (count + 0.5))


def ranked(question: str, passages: Sequence[Passage]) -> list[tuple[int, int]]:
    """Return (passage, sentence) of every sentence, the most needed first; ties in their order."""
    search = _Search([], [])
    search.asked = [word for word in dict.fromkeys(stems(question)) if word not in STOP]
    for at, passage in enumerate(passages):
        title = stems(passage.title)
        search.titles.append(title)
        for number, sentence in enumerate(passage.sentences):
            words = stems(sentence)
            search.sentences.append(_Sentence(at, number, words, {*words, *title}))
            search.found.update(search.sentences[-1].said)
    _score(search)
    _lift(search)
    _hop(search)
    order = sorted(search.sentences, key=lambda sentence: -sentence.score)
    return [(sentence.passage, sentence.number) for sentence in order]


def within(
    ranking: Sequence[tuple[int, int]],
    sizes: Sequence[Sequence[float]],
    budget: float,
    heads: Sequence[float] | None = None,
) -> list[tuple[int, int]]:
    """Return what fits into ``budget`` of the unit of ``sizes``, the best first and then in the text's own order.

    The first of the ranking is kept whatever its size. ``heads``: what each passage's title takes as soon as one
    sentence of it is kept.
    """
    kept: list[tuple[int, int]] = []
    begun: set[int] = set()
    for passage, number in ranking:
        head = 0.0 if heads is None or passage in begun else heads[passage]
        size = sizes[passage][number] + head
        if size <= budget or not kept:
            kept.append((passage, number))
            begun.add(passage)
            budget -= size
    return sorted(kept)


def _score(search: _Search) -> None:
    """Set each sentence's BM25 score, its passage's title counted as one mention of each of its words."""
    rarity = {word: search.rarity(word) for word in search.asked}
    usual = sum(len(sentence.words) for sentence in search.sentences) / max(1, len(search.sentences))
    titles = [set(title) for title in search.titles]
    for sentence in search.sentences:
        asked = [word for word in search.asked if word in sentence.said]
        if not asked:
            continue
        damp = _K1 * (1 - _B + _B * len(sentence.words) / max(1.0, usual))
        title = titles[sentence.passage]
        for word in asked:
            count = sentence.words.count(word) + (word in title)
            sentence.base += rarity[word] * count * (_K1 + 1) / (count + damp)


def _lift(search: _Search) -> None:
    """Lift what is near a good sentence or in a passage that says much of what is asked."""
    sentences = search.sentences
    begins = 0
    while begins < len(sentences):
        ends = begins
        while ends < len(sentences) and sentences[ends].passage == sentences[begins].passage:
            ends += 1
        said = set().union(*(sentence.said for sentence in sentences[begins:ends]))
        whole = sum(search.rarity(word) for word in search.asked if word in said)
        for at in range(begins, ends):
            near = [sentences[beside].base for beside in (at - 1, at + 1) if begins <= beside < ends]
            lead = _LEAD * whole if at == begins else 0.0
            sentences[at].score = sentences[at].base + _NEAR * max(near, default=0.0) + _WHOLE * whole + lead
        begins = ends


def _hop(search: _Search) -> None:
    """Lift the passages whose whole title the best sentences name, in words that the question does not have."""
    best = heapq.nlargest(_SEEDS, search.sentences, key=lambda sentence: sentence.score)
    named = {word for sentence in best for word in sentence.words} - STOP - set(search.asked)
    gains: dict[int, float] = {}
    for at, title in enumerate(search.titles):
        words = [word for word in title if word not in STOP]
        if words and named.issuperset(words):
            gains[at] = _HOP * sum(search.rarity(word) for word in words)
    for sentence in search.sentences:
        sentence.score += gains.get(sentence.passage, 0.0)
