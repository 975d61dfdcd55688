"""Whether a prefix is worth caching, by the price of writing it and the chance that it is asked for again in time.

A token costs 1 without a cache, w to write and r to read, and reading keeps it there for as long again. Where each
request is followed by the next in time with probability p, it is expected to be read p / (1 - p) times before it must
be written anew, and costs p r + (1 - p) w a request: worth it where p > (w - 1) / (w - r), which is the rule that
1 / (1 - p) requests must be more than (w - r) / (1 - r).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Tariff", "best", "gain"]

# By how long a prefix is kept: which of ``reuse.HORIZONS`` that is, and the rate of writing it.
_KINDS = {"5m": (0, "cache_write_5m"), "30m": (1, "cache_write_30m"), "1h": (2, "cache_write_1h")}


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a model's cache costs, as multiples of its input price: ``read``, and ``write`` by how long it is kept."""

    read: float
    write: Mapping[str, float]

    @classmethod
    def of(cls, kinds: Mapping[str, int], keeps: Sequence[str]) -> Tariff | None:
        """Return the tariff of a model's rates for what its provider keeps ("5m", "30m", "1h"); None without prices."""
        base, read = kinds.get("input"), kinds.get("cache_read")
        if not base or read is None:
            return None
        write = {keep: kinds[_KINDS[keep][1]] / base for keep in keeps if _KINDS[keep][1] in kinds}
        return cls(read / base, write) if write else None


def gain(tariff: Tariff, keep: str, chance: float) -> float:
    """Return what caching a token saves per request, as a share of its price; negative where it costs more."""
    return 1 - (chance * tariff.read + (1 - chance) * tariff.write[keep])


def best(tariff: Tariff, chances: Sequence[float]) -> str | None:
    """Return for how long to keep a prefix, given the ``chances`` of each horizon; None where it is not worth it."""
    gains = {keep: gain(tariff, keep, chances[_KINDS[keep][0]]) for keep in tariff.write}
    keep = max(gains, key=lambda name: gains[name])
    return keep if gains[keep] > 0 else None
