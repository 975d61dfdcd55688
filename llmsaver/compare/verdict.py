"""The verdict on two answers, by the surest test that applies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llmsaver.compare.structured import Absent, json_equal, parsed, strings_paired
from llmsaver.compare.words import code_differs, exact, negations_differ, numbers_differ, token_f1

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MIN_COSINE", "MIN_F1", "How", "Verdict", "cosine", "same"]

How = Literal["exact", "json", "numbers", "code", "negation", "words", "meaning"]
# Below these two answers are called different. Word overlap of 0.8 lets a sentence of ten words differ in two.
MIN_F1 = 0.8
MIN_COSINE = 0.9
_TURNS: tuple[tuple[How, Callable[[str, str], bool]], ...] = (
    ("numbers", numbers_differ),
    ("code", code_differs),
    ("negation", negations_differ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two answers say the same, how alike they are (0.0 to 1.0), and which test decided.

    ``how``: "exact" (but for white space), "json" (equal values, or which of them differ), "numbers", "code" and
    "negation" (they differ in one), "words" (token F1), "meaning" (cosine of the two vectors).
    """

    same: bool
    score: float
    how: How


def same(
    one: str,
    other: str,
    *,
    vectors: tuple[Sequence[float], Sequence[float]] | None = None,
    min_f1: float = MIN_F1,
    min_cosine: float = MIN_COSINE,
) -> Verdict:
    """Return whether two answers say the same; symmetric, and made to doubt rather than to believe.

    In this order: exact but for white space; equal as JSON, and JSON that differs only in its strings is as alike as
    the least alike of them; a number, a block of code or a negation that differs makes two answers different, however
    alike their words are; then the words' F1, which does not see their order; then, where the answers' ``vectors`` of
    one embedder are given, the cosine. Raises ``ValueError`` for vectors of different lengths.
    """
    if exact(one, other):
        return Verdict(same=True, score=1.0, how="exact")
    if json_equal(one, other):
        return Verdict(same=True, score=1.0, how="json")
    left, right = parsed(one), parsed(other)
    if isinstance(left, dict | list) or isinstance(right, dict | list):
        return _structured(left, right, token_f1(one, other), min_f1)
    overlap = token_f1(one, other)
    for how, differs in _TURNS:
        if differs(one, other):
            return Verdict(same=False, score=overlap, how=how)
    if overlap >= min_f1 or vectors is None:
        return Verdict(same=overlap >= min_f1, score=overlap, how="words")
    nearness = cosine(*vectors)
    return Verdict(same=nearness >= min_cosine, score=max(0.0, nearness), how="meaning")


def _structured(left: object, right: object, overlap: float, min_f1: float) -> Verdict:
    """Return the verdict where at least one answer is a JSON object or list: a machine reads it, and value by value."""
    pairs = None if Absent in (left, right) else strings_paired(left, right)
    if not pairs:
        return Verdict(same=False, score=overlap, how="json")
    verdicts = [same(one, other, min_f1=min_f1) for one, other in pairs]
    return Verdict(same=all(each.same for each in verdicts), score=min(each.score for each in verdicts), how="json")


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors, -1.0 to 1.0; 0.0 where one of them has no direction.

    Raises ``ValueError`` for vectors of different lengths.
    """
    if len(one) != len(other):
        raise ValueError(f"vectors of {len(one)} and {len(other)} numbers are not of one embedder")
    lengths = math.hypot(*one) * math.hypot(*other)
    if not 0.0 < lengths < math.inf:
        return 0.0
    return max(-1.0, min(1.0, math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths))
