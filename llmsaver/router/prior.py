"""The thresholds that ship: what a cheap answer's merit must reach where nothing is known of the traffic yet."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files

__all__ = ["prior_signals", "prior_threshold"]


def prior_threshold(signal: str) -> float:
    """Return the least merit by ``signal`` that is accepted untrained; ``math.inf`` for a signal without a prior.

    ``prior.json`` is made by ``benchmarks/router_prior.py``, which says how: for log-probabilities the lowest threshold
    at which every pair of models known keeps 95 % of the strong model's quality.
    """
    return _shipped().get(signal, math.inf)


def prior_signals() -> frozenset[str]:
    """Return the signals that have a prior."""
    return frozenset(_shipped())


@cache
def _shipped() -> dict[str, float]:
    told = json.loads((files(__package__) / "prior.json").read_text())
    return {name: float(each["threshold"]) for name, each in told["signals"].items()}
