"""How much further a talk goes on: the expected number of requests that follow before its cache is gone.

Counted by feature, in buckets of how far talks had come: requests that reached it, and those of them that were followed
by another in time. The chance of each further request is taken one standard deviation below its mean, so little is
expected where little is known, and talks still under way count as ended until they go on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Counts", "bucket_of", "further"]

Counts = tuple[int, int]

# Single turns up to here, then four buckets to each doubling.
_SINGLE, _TO_A_DOUBLING = 8, 4
# Before anything is known one of three goes on: a Beta distribution of weight three.
_WENT_ON, _ENDED = 1.0, 2.0
_FARTHEST = 400


def bucket_of(turns: int) -> int:
    """Return the bucket of so many answers in a request."""
    return max(0, turns) if turns < _SINGLE else _SINGLE + int(_TO_A_DOUBLING * math.log2(turns / _SINGLE))


def further(turns: int, counts: Mapping[int, Counts]) -> float:
    """Return how many requests are expected to follow one with so many answers; ``counts``: (reached, went on)."""
    expected, there = 0.0, 1.0
    for turn in range(turns, turns + _FARTHEST):
        there *= _chance(counts.get(bucket_of(turn), (0, 0)))
        expected += there
        if there < 1e-3:  # noqa: PLR2004 - what is left changes no decision
            break
    return expected


def _chance(count: Counts) -> float:
    reached, went_on = count
    alpha = _WENT_ON + min(went_on, reached)
    beta = _ENDED + max(0, reached - went_on)
    whole = alpha + beta
    return max(0.0, alpha / whole - math.sqrt(alpha * beta / (whole * whole * (whole + 1))))
