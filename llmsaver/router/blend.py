"""A confidence corrected by what a gatekeeper expected of the question, as far as labels show that it helps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Blend", "combined"]

# Standard errors by which the gatekeeper must add to the confidence, or it is not listened to.
_EVIDENCE = 2.5
# No gain moves log(-log(merit)) by more than this.
_MOST = 0.5
# Merits beyond which log(-log(merit)) is not followed.
_LOW, _HIGH = 1e-12, 1.0 - 1e-9
_FEW = 30


@dataclass(frozen=True, slots=True)
class Blend:
    """How far log(-log(merit)) moves for each unit of gain above ``center``; not at all with ``weight`` 0.0."""

    weight: float = 0.0
    center: float = 0.0

    @classmethod
    def fit(
        cls, merits: Sequence[float | None], gains: Sequence[float], weak: Sequence[float], strong: Sequence[float]
    ) -> Blend:
        """Fit on gains predicted *without* the label itself; labels without a merit are left out.

        The gain that came true is regressed on log(-log(merit)) and the predicted gain; the weight is the ratio of the
        two slopes, shrunk by 1 - (2.5 / t)^2 where t is the second one's number of standard errors, and 0.0 where
        either has less than 2.5: a gatekeeper that knows nothing then changes nothing, rather than little.
        """
        rows = [
            (_place(merit), gain, two - one)
            for merit, gain, one, two in zip(merits, gains, weak, strong, strict=True)
            if merit is not None
        ]
        if len(rows) < _FEW:
            return cls()
        center = math.fsum(gain for _, gain, _ in rows) / len(rows)
        slopes = _slopes(rows)
        if slopes is None:
            return cls(0.0, center)
        (sure, unsure), (expected, deviation) = slopes
        # A confidence that says nothing is nothing to be in proportion to.
        if sure <= _EVIDENCE * unsure or expected <= _EVIDENCE * deviation:
            return cls(0.0, center)
        return cls(expected / sure * (1.0 - (_EVIDENCE * deviation / expected) ** 2), center)


def combined(merit: float | None, gain: float | None, blend: Blend | None) -> float | None:
    """Return a merit again: lower where the last tier is expected to gain more than usual; None stays None."""
    if merit is None or gain is None or blend is None or blend.weight == 0.0 or not 0.0 < merit < 1.0:
        return merit
    move = max(-_MOST, min(_MOST, blend.weight * (gain - blend.center)))
    return math.exp(math.log(merit) * math.exp(move))


def _place(merit: float) -> float:
    return math.log(-math.log(min(_HIGH, max(_LOW, merit))))


def _slopes(rows: Sequence[tuple[float, float, float]]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return both slopes of the regression with their standard errors; None where they cannot be told apart."""
    count = len(rows)
    means = [math.fsum(row[at] for row in rows) / count for at in range(3)]
    moved = [tuple(value - mean for value, mean in zip(row, means, strict=True)) for row in rows]
    sums = {(i, j): math.fsum(row[i] * row[j] for row in moved) for i in range(3) for j in range(i, 3)}
    determinant = sums[0, 0] * sums[1, 1] - sums[0, 1] ** 2
    if determinant <= 1e-9 * max(sums[0, 0] * sums[1, 1], 1e-300):
        return None
    sure = (sums[1, 1] * sums[0, 2] - sums[0, 1] * sums[1, 2]) / determinant
    expected = (sums[0, 0] * sums[1, 2] - sums[0, 1] * sums[0, 2]) / determinant
    left = max(0.0, sums[2, 2] - sure * sums[0, 2] - expected * sums[1, 2])
    spread = left / (count - 3) / determinant
    return (sure, math.sqrt(spread * sums[1, 1])), (expected, math.sqrt(spread * sums[0, 0]))
