"""Latencies as counts in logarithmic bins: an hour's thousands of calls in a few hundred bytes that can be added up."""

from __future__ import annotations

import json
from math import log2

__all__ = ["Histogram", "bin_of", "dump", "load", "percentile"]

# Eight bins to each doubling: a percentile is off by 4.5 % at most.
PER_DOUBLING = 8
SMALLEST, LARGEST = 0.001, 1e12

Histogram = dict[int, int]


def bin_of(milliseconds: float) -> int:
    """Return the bin of a latency; what is not above a microsecond, or not a number, falls into the lowest."""
    return int(PER_DOUBLING * log2(min(max(SMALLEST, milliseconds), LARGEST) / SMALLEST))


def percentile(histogram: Histogram, fraction: float) -> float | None:
    """Return the latency in milliseconds that ``fraction`` of all do not exceed; None where there are none."""
    total = sum(histogram.values())
    if total <= 0:
        return None
    rank, seen = fraction * total, 0
    at = 0
    for at in sorted(histogram):
        seen += histogram[at]
        if seen >= rank:
            break
    return float(SMALLEST * 2 ** ((at + 0.5) / PER_DOUBLING))


def dump(histogram: Histogram) -> str:
    """Return it as JSON, empty bins left out."""
    return json.dumps({str(k): v for k, v in histogram.items() if v}, separators=(",", ":"))


def load(text: str | None) -> Histogram:
    """Return what ``dump`` wrote."""
    return {int(k): v for k, v in json.loads(text).items()} if text else {}
