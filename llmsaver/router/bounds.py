"""A lower bound of the quality kept by a threshold: half what was counted, half what a curve through it says."""

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
_COUNTED = 0.5
# The bound of a normal distribution, widened: the curve is a model, and what is judged is a sample as well.
_WIDER = 1.05
_RIDGE = 0.01
_ROUNDS = 25
_FAR = 30.0


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

    ``pulls``: how much each label moves (intercept, slope), for the delta method.
    """

    chances: list[float]
    pulls: list[tuple[float, float]]


def passed(sample: Sample, edges: Sequence[int], *, min_quality: float, risk: float) -> tuple[int, float]:
    """Return how many of the labels, from the top, may be accepted, and the lower bound of quality / strong quality.

    ``edges``: counts of labels that a threshold can accept, rising from 0. For each the mean of
    ``quality - min_quality * strong`` must be at least 0 at ``1 - risk``. The mean is taken half from the labels and
    half from logistic regressions of both qualities on log(-log(merit)), its deviation from the influence of each label
    on both (the delta method): the curve borrows from the labels beside, and so is a fifth steadier. Losses are few, so
    the bound is lowered for their skew (Johnson 1978, "Modified t tests").

    Chosen by what 200 splits of each pair of ``benchmarks/router.py`` come to; between halves of 0 and 1 and widenings
    of 1 and 1.35 the share of splits that break the contract goes from 10 to 6 %, the saving from 60.5 to 58.5 %.
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
        self._places = [_place(merit) for merit in sample.merits]
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
        weak, strong = [0.0, 0.0], [0.0, 0.0]
        for at, place in enumerate(self._places):
            weight = self._weights[at]
            slope = weight * _slope(self._strong.chances[at])
            factor = -self._share if at < accepted else 1 - self._share
            strong[0] += factor * slope
            strong[1] += factor * slope * place
            if at < accepted:
                slope = weight * _slope(self._weak.chances[at])
                weak[0] += slope
                weak[1] += slope * place
        moved = [
            weak[0] * one[0] + weak[1] * one[1] + strong[0] * two[0] + strong[1] * two[1]
            for one, two in zip(self._weak.pulls, self._strong.pulls, strict=True)
        ]
        return moved + [0.0] * (len(self._weights) - len(moved))


def _place(merit: float) -> float:
    """Return log(-log(merit)), about -2 to 2: differences count near 0 and near 1 as well."""
    loss = -math.log(min(max(merit, 1e-13), 1.0 - 1e-7))
    return (math.log(loss) + 2.0) / 3.0


def _slope(chance: float) -> float:
    return chance * (1.0 - chance)


def _fitted(places: Sequence[float], values: Sequence[float], weights: Sequence[float], labels: int) -> _Curve:
    """Fit by Newton's method; ``weights`` sum to at most 1, ``labels`` scales them back against the ridge."""
    ridge = _RIDGE / labels
    bias = tilt = 0.0
    chances: list[float] = []
    flat, mixed, steep = 1.0, 0.0, 1.0
    for _ in range(_ROUNDS):
        chances = [_logistic(bias + tilt * place) for place in places]
        slopes = [weight * _slope(chance) for weight, chance in zip(weights, chances, strict=True)]
        flat = ridge + math.fsum(slopes)
        mixed = math.fsum(s * place for s, place in zip(slopes, places, strict=True))
        steep = ridge + math.fsum(s * place * place for s, place in zip(slopes, places, strict=True))
        errors = [w * (v - c) for w, v, c in zip(weights, values, chances, strict=True)]
        up = math.fsum(errors) - ridge * bias
        along = math.fsum(e * place for e, place in zip(errors, places, strict=True)) - ridge * tilt
        determinant = flat * steep - mixed * mixed
        step = (steep * up - mixed * along) / determinant, (flat * along - mixed * up) / determinant
        bias, tilt = bias + step[0], tilt + step[1]
        if abs(step[0]) + abs(step[1]) < 1e-7:  # noqa: PLR2004 - far below what a chance shows
            break
    determinant = flat * steep - mixed * mixed
    pulls = []
    for place, value, chance in zip(places, values, chances, strict=True):
        error = value - chance
        pulls.append(
            (error * (steep - mixed * place) / determinant, error * (flat * place - mixed) / determinant),
        )
    return _Curve(chances, pulls)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-_FAR, min(_FAR, value))))
