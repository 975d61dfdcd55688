"""Streams of questions with known answers, put to the semantic cache's decision and to the rules in use elsewhere."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from llmsaver.cache import guards
from llmsaver.cache.semantic import Questions
from llmsaver.embed import default_cross_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cache_prior import Questions as Asked

    from llmsaver.cache.prior import Prior

AUDIT = 0.02
FEATURE = NAMESPACE = "benchmark"
FOR_EVER = float("inf")
# Texts come back in every shuffle, and parsing one is most of what a decision costs; what is measured is who is right.
guards.sketch = lru_cache(maxsize=None)(guards.sketch)


@cache
def reads(one: str, other: str) -> float | None:
    """Return what the cross-encoder says of two texts, which is asked once for all streams."""
    return default_cross_encoder().logit(one, other)


@dataclass
class Score:
    """What became of one stream."""

    asked: int = 0
    hits: int = 0
    wrong: int = 0

    def note(self, *, served: bool, right: bool) -> None:
        """Count a question."""
        self.asked += 1
        self.hits += served
        self.wrong += served and not right

    def told(self) -> dict[str, Any]:
        """Return the shares, and the upper 95 % bound of the one that is promised."""
        return {
            "asked": self.asked,
            "hits": self.hits,
            "wrong": self.wrong,
            "hit_rate": self.hits / max(self.asked, 1),
            "wrong_served": self.wrong / max(self.hits, 1),
            "wrong_served_bound": upper_bound(self.wrong, self.hits),
            "wrong_all": self.wrong / max(self.asked, 1),
        }


def upper_bound(wrong: int, served: int, doubt: float = 0.05) -> float:
    """Return the one-sided Clopper-Pearson bound of a share: the one at which so few wrong ones have chance 5 %."""
    if wrong >= served:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(wrong, served, middle) > doubt else (low, middle)
    return high


def _at_most(wrong: int, served: int, share: float) -> float:
    return sum(
        math.exp(
            math.lgamma(served + 1)
            - math.lgamma(k + 1)
            - math.lgamma(served - k + 1)
            + k * math.log(share)
            + (served - k) * math.log1p(-share)
        )
        for k in range(wrong + 1)
    )


def ours(asked: Asked, max_wrong: float, prior: Prior | None, seed: int) -> Iterator[Score]:
    """Yield the score as the stream goes: ``Questions`` as the layer uses it, its audits and its stepping aside."""
    questions = Questions(max_wrong, asked.vectors.shape[1], prior=prior, reads=reads)
    space, score, chance = questions.space(NAMESPACE), Score(), random.Random(seed)  # noqa: S311 - which are audited
    for at, text in enumerate(asked.texts):
        truth, vector = int(asked.answers[at]), asked.vectors[at]
        decision = questions.decide(NAMESPACE, FEATURE, text, vector, 0.0)
        right = decision.answer == truth
        served = decision.serve is not None and not questions.tally(FEATURE).broken
        score.note(served=served, right=right)
        if not served:
            if decision.answer is not None:
                questions.learn(NAMESPACE, FEATURE, decision, right=right, audited=False)
            space.add(str(at), text, vector, truth, FOR_EVER)
        elif chance.random() < AUDIT:
            questions.learn(NAMESPACE, FEATURE, decision, right=right, audited=True)
            if not right:
                space.remove(decision.serve or "")
        yield score


def by_rule(asked: Asked, serves: Callable[[Any, Any], int | None]) -> Iterator[Score]:
    """Yield the score of a rule over the similarities and answers of all that is stored; misses are stored."""
    vectors = np.zeros_like(asked.vectors)
    answers = np.zeros(len(asked.texts), int)
    stored, score = 0, Score()
    for at in range(len(asked.texts)):
        served = serves(vectors[:stored] @ asked.vectors[at], answers[:stored]) if stored else None
        score.note(served=served is not None, right=served == asked.answers[at])
        if served is None:
            vectors[stored], answers[stored] = asked.vectors[at], asked.answers[at]
            stored += 1
        yield score


def threshold(least: float) -> Callable[[Any, Any], int | None]:
    """Serve the nearest one's answer where it is near enough."""

    def serves(near: Any, answers: Any) -> int | None:
        best = int(near.argmax())
        return int(answers[best]) if near[best] >= least else None

    return serves


def agreement(least: float, band: float) -> Callable[[Any, Any], int | None]:
    """Serve it where, moreover, all that are almost as near, two at least, have the same answer."""

    def serves(near: Any, answers: Any) -> int | None:
        best = int(near.argmax())
        around = answers[near > near[best] - band]
        agreed = len(around) > 1 and bool((around == answers[best]).all())
        return int(answers[best]) if near[best] >= least and agreed else None

    return serves


class PerEntry:
    """A threshold learned for each entry: vCache's idea, which asks for evidence about every one of them.

    An entry serves where the similarities at which it was right before, and those at which it was wrong, put the next
    one above a logistic's lower bound: here, where at least six known outcomes lie at or below this similarity, all
    of them right.
    """

    needed = 6

    def stream(self, asked: Asked) -> Iterator[Score]:
        """Yield the score as the stream goes."""
        vectors = np.zeros_like(asked.vectors)
        answers: list[int] = []
        known: list[deque[tuple[float, bool]]] = []
        score = Score()
        for at in range(len(asked.texts)):
            truth, served, right = int(asked.answers[at]), False, False
            if answers:
                near = vectors[: len(answers)] @ asked.vectors[at]
                best = int(near.argmax())
                right = answers[best] == truth
                below = [good for similarity, good in known[best] if similarity <= near[best]]
                worse = any(not good for similarity, good in known[best] if similarity >= near[best])
                served = len(below) >= self.needed and all(below) and not worse
                if not served:
                    known[best].append((float(near[best]), right))
            score.note(served=served, right=right)
            if not served:
                vectors[len(answers)] = asked.vectors[at]
                answers.append(truth)
                known.append(deque(maxlen=50))
            yield score
