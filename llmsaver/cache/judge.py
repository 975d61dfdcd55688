"""How likely one stored question, by its words alone, has the answer that a new one wants: no vote, no history."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from llmsaver.cache import guards
from llmsaver.cache.guard_pair import asks_otherwise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmsaver.cache.guards import Sketch

__all__ = ["FEATURES", "Judge", "Weights", "WordVectors", "shipped"]

FEATURES = (
    "cos",  # of the two questions
    "unmatched",  # words without a counterpart, in fours, at most two
    "share",  # of all words, those that both have
    "exact",  # no word is unmatched
    "oneside",  # only one question has words that the other lacks
    "rest",  # the cosine of what is unmatched here and there, each read as a phrase
    "worst",  # the least cosine of an unmatched word to the nearest unmatched one of the other side
    "best",  # the greatest
    "sub",  # the questions differ in one place, by two words at most: a contrast more often than a rewording
    "sub_rest",  # and by how much these words differ
    "lost",  # how much nearer what is unmatched is to its own question than to the other, both ways
    "most_lost",  # the greater of the two
    "weight",  # how near what is unmatched is to its own question
    "wh",  # how far other things are asked for
    "kind",
    "tense",
    "persons",
    "order",  # of the words that both have is the same
    "marks",  # and so are the prepositions that lead them
    "references",
    "joined",
    "same",  # the share of the text before and behind the first and the last change
    "small",  # three words or fewer are changed
    "same_unmatched",  # the former, where words are unmatched
    "length",
    "words",
    "equivalent",
)
_NEAREST = 0.5
_KEPT = 8_192
_SUBSTITUTED, _SMALL, _MOST = 2, 3, 8


class WordVectors:
    """Vectors of words and phrases by an embedder, the latest kept; its owner locks."""

    def __init__(self, embed: Callable[[Sequence[str]], Any]) -> None:
        self._embed = embed
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def __call__(self, text: str) -> Any:
        """Return the vector of length 1 of a text."""
        found = self._kept.get(text)
        if found is None:
            found = self._kept[text] = self._embed([text])[0]
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic regression over ``FEATURES``."""

    weights: tuple[float, ...]
    bias: float


@cache
def shipped() -> Weights:
    """Return the weights of this version: ``judge.json``, made by ``benchmarks/cache_judge.py``."""
    told = json.loads((files(__package__) / "judge.json").read_text())
    return Weights(tuple(told["weights"][name] for name in FEATURES), told["bias"])


class Judge:
    """Judges pairs of questions; ``embed`` is the embedder's method, asked for single words where that pays."""

    def __init__(self, embed: Callable[[Sequence[str]], Any], weights: Weights | None = None) -> None:
        self._vector = WordVectors(embed)
        self._weights = weights or shipped()

    def logit(self, asked: Sketch, known: Sketch, one: Any, other: Any) -> float | None:
        """Return the log-odds that one answer serves both, whose vectors are given; None where it cannot."""
        features = self.features(asked, known, one, other)
        if features is None:
            return None
        weights = self._weights
        return weights.bias + sum(w * value for w, value in zip(weights.weights, features, strict=True))

    def features(self, a: Sketch, b: Sketch, one: Any, other: Any) -> tuple[float, ...] | None:
        """Return the values of ``FEATURES``; None for a pair of which a guard or its distance says enough."""
        cosine = float(one @ other)
        wh = asks_otherwise(a, b)
        if cosine < _NEAREST or wh == 1 or a.cut or b.cut or guards.VETOES & guards.differences(a, b):
            return None
        here, there = ({each.concept for each in sketched.items} for sketched in (a, b))
        left = [each.base for each in a.items if each.concept not in there]
        right = [each.base for each in b.items if each.concept not in here]
        places = _changed(a.tokens, b.tokens)
        same = 1 - max(places) / max(len(a.tokens), len(b.tokens), 1)
        rest, worst, best = self._apart(left, right)
        lost, weight = self._lost(left, right, one, other)
        sub = float(bool(left) and bool(right) and max(places) <= _SUBSTITUTED)
        unmatched = len(left) + len(right)
        common = here & there
        return (
            cosine,
            min(unmatched, _MOST) / 4,
            len(common) / max(len(here | there), 1),
            float(not unmatched),
            float(bool(left) != bool(right)),
            rest,
            worst,
            best,
            sub,
            sub * (1 - rest),
            sum(lost),
            max(lost),
            weight,
            wh,
            float(a.kind == b.kind),
            float(a.tense == b.tense),
            float(sorted(a.persons) == sorted(b.persons)),
            float(_told(a, common) == _told(b, common)),
            float(sorted(_marked(a, common)) == sorted(_marked(b, common))),
            float(a.references == b.references),
            float(a.joined == b.joined),
            same,
            float(bool(unmatched) and sum(places) <= _SMALL),
            same if unmatched else 0.0,
            abs(len(a.tokens) - len(b.tokens)) / 10,
            len(here | there) / 10,
            float(guards.equivalent(a, b)),
        )

    def _apart(self, left: list[str], right: list[str]) -> tuple[float, float, float]:
        """Return the cosine of the two rests, and the least and the greatest of their words' to their nearest."""
        if not left and not right:
            return 1.0, 1.0, 1.0
        if not left or not right:
            return 0.5, 0.0, 0.0
        near = [[float(self._vector(x) @ self._vector(y)) for y in right[:_MOST]] for x in left[:_MOST]]
        nearest = [max(row) for row in near] + [max(column) for column in zip(*near, strict=True)]
        return float(self._vector(" ".join(left)) @ self._vector(" ".join(right))), min(nearest), max(nearest)

    def _lost(self, left: list[str], right: list[str], one: Any, other: Any) -> tuple[tuple[float, float], float]:
        """Return how much nearer each rest is to its own question than to the other, and how near it is to that."""
        lost, weight = [0.0, 0.0], 0.0
        for side, (rest, own, foreign) in enumerate(((left, one, other), (right, other, one))):
            if rest:
                vector = self._vector(" ".join(rest))
                to_own = float(vector @ own)
                lost[side] = to_own - float(vector @ foreign)
                weight = max(weight, to_own)
        return (lost[0], lost[1]), weight


def _changed(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """Return how many tokens of each lie between the first and the last change."""
    most = min(len(one), len(other))
    ahead = next((at for at in range(most) if one[at] != other[at]), most)
    behind = next((at for at in range(most - ahead) if one[-1 - at] != other[-1 - at]), most - ahead)
    return len(one) - ahead - behind, len(other) - ahead - behind


def _told(sketched: Sketch, common: set[str]) -> list[str]:
    return [each.concept for each in sketched.items if each.concept in common]


def _marked(sketched: Sketch, common: set[str]) -> list[tuple[str, str]]:
    return [(each.concept, each.mark) for each in sketched.items if each.concept in common]
