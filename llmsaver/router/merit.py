"""A confidence weighed against what escalating costs: what thresholds are compared with."""

from __future__ import annotations

import math
import threading

__all__ = ["PriceLevel", "merit"]

# Of a price this many times the usual one, or this part of it, no more is made.
_EXTREME = 5.0
# Characters from which an answer counts as long.
_LONG = 64
# The logarithm of the least confidence: keeps the order, by price, of answers that were said to be impossible.
_LEAST = -30.0


def merit(confidence: float, *, price: float = 1.0, chars: int = 0) -> float:
    """Return what an answer has to be accepted for, 0.0 to 1.0: its confidence, made comparable between requests.

    ``price``: what the last tier would cost for this request, as a multiple of the usual (``PriceLevel``): where that
    is dear, the same risk buys more saving. ``chars``: the answer's length where the confidence is a probability of its
    tokens, else 0: of two equally probable answers the longer one is wrong more often.

    It is ``confidence ** (sqrt(chars) / price)``, the first-order rule: escalate where the expected loss, -log of the
    confidence, is large for its price. Both exponents, 1/2 and 1, are from {0, 1/4, 1/2, 3/4, 1}: see
    ``benchmarks/router_prior.py`` for what they do on a pair of models that did not choose them. On 8B -> 405B over
    MMLU they lift the saving at 95 % of the strong model's quality from 41 to 48 %, and lower none of the four.
    """
    if math.isnan(confidence) or confidence >= 1.0:
        return 0.0 if math.isnan(confidence) else 1.0
    logarithm = max(_LEAST, math.log(confidence)) if confidence > 0.0 else _LEAST
    relative = min(_EXTREME, max(1 / _EXTREME, price)) if price > 0.0 else 1.0
    length = math.sqrt(min(max(chars, 1), _LONG))
    return math.exp(logarithm * length / relative)


class PriceLevel:
    """What a feature's requests usually cost at the last tier; safe to share between threads.

    The mean of what was seen, old requests forgotten by half after ``half_life`` of them.
    """

    def __init__(self, half_life: float = 2_000.0) -> None:
        self._keep = math.pow(0.5, 1.0 / half_life)
        self._sums: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def relative(self, feature: str, nano: float) -> float:
        """Count a request's price in nano-dollars; return it as a multiple of the usual. 1.0 where it is not known."""
        if not nano > 0:
            return 1.0
        with self._lock:
            total, count = self._sums.get(feature, (0.0, 0.0))
            total, count = total * self._keep + nano, count * self._keep + 1.0
            self._sums[feature] = (total, count)
        return nano * count / total
