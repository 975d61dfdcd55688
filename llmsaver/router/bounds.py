"""A lower bound of the quality kept by a threshold: part what was counted, more what a curve through it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Sample", "passed"]

# Thresholds tested at most: more would only make one unlucky label stop the sequence.
_STEPS = 100
# How much the mean that was counted has to say, against the fitted curve's: the curve is steadier and may be wrong.
_COUNTED = 0.25
# The bound of a normal distribution, widened: the curve is a model, and what is judged is a sample as well.
_WIDER = 1.05
_RIDGE = 0.01
_ROUNDS = 30
_FAR = 30.0
# No coefficient moves further in one round.
_STRIDE = 3.0

# The coefficients of a curve, or what they are multiplied by.
_Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """Qualities of both answers and weights, one per label, by falling merit; labels without one come last.

    ``merits`` has as many items as there are labels with one.
    """

    merits: Sequence[float]
    weak: Sequence[float]
    strong: Sequence[float]
    weights: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Curve:
    """A logistic regression of a quality on the merit: ``chances`` at each label, and what moves each of them.

    ``pulls``: how much each label moves the three coefficients, for the delta method.
    """

    chances: list[float]
    pulls: list[_Three]


def passed(sample: Sample, edges: Sequence[int], *, min_quality: float, risk: float) -> tuple[int, float]:
    """Return how many of the labels, from the top, may be accepted, and the lower bound of quality / strong quality.

    ``edges``: counts of labels that a threshold can accept, rising from 0. For each the mean of
    ``quality - min_quality * strong`` must be at least 0 at ``1 - risk``. A quarter of the mean is from the labels, the
    rest from logistic regressions of both qualities on log(-log(merit)) and its square (an overconfident model's
    quality stops rising before its confidence does), its deviation from the influence of each label on both (the delta
    method): the curve borrows from the labels beside, and so is steadier. Losses are few, so the bound is lowered for
    their skew (Johnson 1978, "Modified t tests").

    Chosen on 800 splits of each pair of ``benchmarks/router.py`` that it does not score: misses of 8.4 % (8.1, 8.8,
    11.0 and 5.9 % by pair, each to about 1 %) at a saving of 60.0 %; without the square and with half of it counted,
    8.9 % (11.8 % on the second pair) at 59.8 %.
    """
    total = math.fsum(sample.weights)
    strong = math.fsum(w * s for w, s in zip(sample.weights, sample.strong, strict=True)) / total
    if strong <= 0.0:
        return 0, 1.0
    deviations = NormalDist().inv_cdf(1.0 - risk) * _WIDER
    bound = _Bound(sample, min_quality)
    best, low = 0, min_quality + bound.lower(0, deviations) / strong
    for accepted in _few(edges):
        lower = bound.lower(accepted, deviations)
        if lower < 0.0:
            break
        best, low = accepted, min_quality + lower / strong
    return best, min(1.0, low)


def _few(edges: Sequence[int]) -> list[int]:
    """Return at most ``_STEPS`` of the counts above 0, the last among them."""
    above = [edge for edge in edges if edge > 0]
    if len(above) <= _STEPS:
        return above
    return [above[(step + 1) * len(above) // _STEPS - 1] for step in range(_STEPS)]


class _Bound:
    """The lower bound at any number of accepted labels of one sample."""

    def __init__(self, sample: Sample, min_quality: float) -> None:
        total = math.fsum(sample.weights)
        self._weights = [weight / total for weight in sample.weights]
        self._share = min_quality
        self._sample = sample
        known = len(sample.merits)
        self._places = [_powers(_place(merit)) for merit in sample.merits]
        weights = self._weights[:known]
        self._weak = _fitted(self._places, sample.weak[:known], weights, len(sample.weights))
        self._strong = _fitted(self._places, sample.strong[:known], weights, len(sample.weights))

    def lower(self, accepted: int, deviations: float) -> float:
        """Return the lower bound of the mean of quality - share * strong quality."""
        counted, modelled = self._counted(accepted), self._modelled(accepted)
        values = [_COUNTED * one + (1 - _COUNTED) * two for one, two in zip(counted, modelled, strict=True)]
        mean = math.fsum(w * v for w, v in zip(self._weights, values, strict=True))
        moved = self._moved(accepted)
        influences = [
            weight * (value - mean + (1 - _COUNTED) * move)
            for weight, value, move in zip(self._weights, values, moved, strict=True)
        ]
        spread = math.fsum(each**2 for each in influences)
        if not spread:
            return mean
        lean = math.fsum(each**3 for each in influences) / spread
        return mean - deviations * math.sqrt(spread) + min(0.0, lean * (1 + 2 * deviations**2) / 6)

    def _counted(self, accepted: int) -> list[float]:
        weak, strong = self._sample.weak, self._sample.strong
        left = [one - self._share * two for one, two in zip(weak[:accepted], strong[:accepted], strict=True)]
        return left + [(1 - self._share) * each for each in strong[accepted:]]

    def _modelled(self, accepted: int) -> list[float]:
        known = len(self._places)
        weak, strong = self._weak.chances, self._strong.chances
        left = [one - self._share * two for one, two in zip(weak[:accepted], strong[:accepted], strict=True)]
        left += [(1 - self._share) * each for each in strong[accepted:]]
        return left + [(1 - self._share) * each for each in self._sample.strong[known:]]

    def _moved(self, accepted: int) -> list[float]:
        """Return how much the fitted mean follows each label: the gradient times the label's pull on both curves."""
        weak, strong = [0.0] * 3, [0.0] * 3
        for at, powers in enumerate(self._places):
            weight = self._weights[at]
            slope = weight * _slope(self._strong.chances[at]) * ((1 if at >= accepted else 0) - self._share)
            strong = [sum_ + slope * power for sum_, power in zip(strong, powers, strict=True)]
            if at < accepted:
                slope = weight * _slope(self._weak.chances[at])
                weak = [sum_ + slope * power for sum_, power in zip(weak, powers, strict=True)]
        moved = [
            _dot(weak, one) + _dot(strong, two) for one, two in zip(self._weak.pulls, self._strong.pulls, strict=True)
        ]
        return moved + [0.0] * (len(self._weights) - len(moved))


def _place(merit: float) -> float:
    """Return log(-log(merit)), about -2 to 2: differences count near 0 and near 1 as well."""
    loss = -math.log(min(max(merit, 1e-13), 1.0 - 1e-7))
    return (math.log(loss) + 2.0) / 3.0


def _slope(chance: float) -> float:
    return chance * (1.0 - chance)


def _powers(place: float) -> _Three:
    return 1.0, place, place * place


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


def _fitted(places: Sequence[_Three], values: Sequence[float], weights: Sequence[float], labels: int) -> _Curve:
    """Fit by Newton's method; ``weights`` sum to at most 1, ``labels`` scales them back against the ridge."""
    ridge = _RIDGE / labels
    found = (0.0, 0.0, 0.0)
    chances: list[float] = []
    inverse: tuple[_Three, ...] = ()
    for _ in range(_ROUNDS):
        chances = [_logistic(_dot(found, powers)) for powers in places]
        slopes = [weight * _slope(chance) for weight, chance in zip(weights, chances, strict=True)]
        errors = [w * (v - c) for w, v, c in zip(weights, values, chances, strict=True)]
        sums = [
            math.fsum(s * powers[1] ** power for s, powers in zip(slopes, places, strict=True)) for power in range(5)
        ]
        inverse = _inverse([[sums[i + j] + (ridge if i == j else 0.0) for j in range(3)] for i in range(3)])
        up = [
            math.fsum(e * powers[i] for e, powers in zip(errors, places, strict=True)) - ridge * found[i]
            for i in range(3)
        ]
        step = [max(-_STRIDE, min(_STRIDE, _dot(row, up))) for row in inverse]
        found = (found[0] + step[0], found[1] + step[1], found[2] + step[2])
        if sum(map(abs, step)) < 1e-7:  # noqa: PLR2004 - far below what a chance shows
            break
    pulls = []
    for powers, value, chance in zip(places, values, chances, strict=True):
        one, two, three = ((value - chance) * _dot(row, powers) for row in inverse)
        pulls.append((one, two, three))
    return _Curve(chances, pulls)


def _inverse(of: Sequence[Sequence[float]]) -> tuple[_Three, ...]:
    """Return the inverse of a symmetric matrix of three rows, by its cofactors."""
    (a, b, c), (_, d, e), (_, _, f) = of
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    whole = a * first + b * second + c * third
    mixed = (b * c - a * e) / whole
    return (
        (first / whole, second / whole, third / whole),
        (second / whole, (a * f - c * c) / whole, mixed),
        (third / whole, mixed, (a * d - b * b) / whole),
    )


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-_FAR, min(_FAR, value))))
