"""How likely one stored question, by its words alone, has the answer that a new one wants: no vote, no history."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from llmsaver.cache import guards
from llmsaver.cache.guard_pair import asks_otherwise
from llmsaver.cache.guard_roles import flipped
from llmsaver.embed.cross_encoder import GREATEST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmsaver.cache.guards import Sketch

    # Two texts, and the log-odds that one answer serves both; None for what is too long.
    Reads = Callable[[str, str], float | None]

__all__ = ["FEATURES", "Asked", "Judge", "Weights", "shipped"]

_MEASURED = (
    "cos",  # of the two questions
    "unmatched",  # words without a counterpart, in fours, at most two
    "share",  # of all words, those that both have
    "exact",  # no word is unmatched
    "oneside",  # only one question has words that the other lacks
    "sub",  # the questions differ in one place, by two words at most: a contrast more often than a rewording
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
_DOUBTS = tuple(sorted(guards.SOFT_VETOES))
FEATURES = (
    "read",  # the cross-encoder's log-odds
    *_MEASURED,
    *(f"veto {kind}" for kind in _DOUBTS),
)
_NEAREST = 0.5
_SUBSTITUTED, _SMALL, _MOST = 2, 3, 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: its text and what the guards found in it."""

    text: str
    sketch: Sketch


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
    """Judges pairs of questions; ``reads`` is a cross-encoder's method."""

    def __init__(self, reads: Reads, weights: Weights | None = None) -> None:
        self._reads = reads
        self._weights = weights or shipped()

    def beforehand(self, asked: Asked, known: Asked, cosine: float) -> float | None:
        """Return the log-odds that one answer serves both but for what ``reading`` adds; None where it cannot.

        So too where whatever it read would leave the odds against it: that is not worth its time.
        """
        measured = self.measured(asked, known, cosine)
        if measured is None:
            return None
        most, *others = self._weights.weights
        logit = self._weights.bias + sum(w * value for w, value in zip(others, measured, strict=True))
        return logit if logit + most * GREATEST > 0 else None

    def reading(self, asked: Asked, known: Asked) -> float | None:
        """Return what reading both together adds to the log-odds: some milliseconds; None for what is too long."""
        read = self._reads(asked.text, known.text)
        return None if read is None else self._weights.weights[0] * read

    def features(self, asked: Asked, known: Asked, cosine: float) -> tuple[float, ...] | None:
        """Return the values of ``FEATURES``; None for a pair of which a guard or its distance says enough."""
        measured = self.measured(asked, known, cosine)
        read = None if measured is None else self._reads(asked.text, known.text)
        return None if measured is None or read is None else (read, *measured)

    def measured(self, asked: Asked, known: Asked, cosine: float) -> tuple[float, ...] | None:
        """Return all values but the first, which takes a hundred times as long; None as in ``features``."""
        a, b = asked.sketch, known.sketch
        if cosine < _NEAREST or a.cut or b.cut:
            return None
        found = guards.differences(a, b)
        if found & guards.HARD_VETOES or flipped(a, b):
            return None
        here, there = ({each.concept for each in sketched.items} for sketched in (a, b))
        left, right = here - there, there - here
        unmatched, common = len(left) + len(right), here & there
        places = _changed(a.tokens, b.tokens)
        same = 1 - max(places) / max(len(a.tokens), len(b.tokens), 1)
        return (
            cosine,
            min(unmatched, _MOST) / 4,
            len(common) / max(len(here | there), 1),
            float(not unmatched),
            float(bool(left) != bool(right)),
            float(bool(left) and bool(right) and max(places) <= _SUBSTITUTED),
            asks_otherwise(a, b),
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
            *(float(kind in found) for kind in _DOUBTS),
        )


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
