"""Latencies as counts in logarithmic bins: an hour's thousands of calls in a few hundred bytes that can be added up."""

from __future__ import annotations

import json
from collections import Counter
from math import log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Histogram", "bin_of", "dump", "joined", "percentile"]

# Eight bins to each doubling: a percentile is off by 4.5 % at most.
PER_DOUBLING = 8
SMALLEST, LARGEST = 0.001, 1e12

Histogram = dict[int, int]
_write, _read = json.JSONEncoder(separators=(",", ":")).encode, json.JSONDecoder().decode


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
    """Return it as a JSON list, each bin followed by its count, empty ones left out."""
    return _write([number for pair in histogram.items() if pair[1] for number in pair])


def joined(texts: Iterable[str], bins: Iterable[int] = (), sign: int = 1) -> Histogram:
    """Return the sum of what ``dump`` wrote several times and of single ``bins``, which ``sign`` counts up or down."""
    counts = dict(Counter(bins))
    if sign < 0:
        counts = {at: -count for at, count in counts.items()}
    inner = [text[1:-1] for text in texts if len(text) > len("[]")]
    numbers = iter(_read(f"[{','.join(inner)}]") if inner else ())
    for at, count in zip(numbers, numbers, strict=True):
        counts[at] = counts.get(at, 0) + count
    return counts
