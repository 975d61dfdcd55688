"""The shipped opinion on neighbours' votes: a logistic regression, fitted on public questions with known intents."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from llmsaver.cache.evidence import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Prior", "fit", "shipped"]


@dataclass(frozen=True, slots=True)
class Prior:
    """Weights over ``evidence.FEATURES``; ``logit`` is the log-odds that the answer voted for is right."""

    weights: tuple[float, ...]
    bias: float

    def logit(self, features: Sequence[float]) -> float:
        """Return the log-odds for one question's features."""
        return self.bias + sum(weight * value for weight, value in zip(self.weights, features, strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is shipped."""
        return {"bias": self.bias, "weights": dict(zip(FEATURES, self.weights, strict=True))}


@cache
def shipped() -> Prior:
    """Return the prior of this version: ``prior.json``, made by ``benchmarks/cache_prior.py``."""
    told = json.loads((files(__package__) / "prior.json").read_text())
    return Prior(tuple(told["weights"][name] for name in FEATURES), told["bias"])


def fit(features: Any, right: Any, *, ridge: float = 3.0, rounds: int = 25) -> Prior:
    """Return the ridge logistic regression of ``right`` (booleans) on ``features`` (rows), by Newton's method.

    Features are standardised first, so that ``ridge`` (the inverse of scikit-learn's C) means the same for each.
    """
    import numpy as np

    rows, target = np.asarray(features, float), np.asarray(right, float)
    mean, spread = rows.mean(0), rows.std(0) + 1e-9
    design = np.hstack([(rows - mean) / spread, np.ones((len(rows), 1))])
    penalty = np.diag([ridge] * rows.shape[1] + [0.0])
    beta = np.zeros(design.shape[1])
    for _ in range(rounds):
        chance = 1 / (1 + np.exp(-(design @ beta)))
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + penalty
        beta = beta + np.linalg.solve(curve, design.T @ (target - chance) - penalty @ beta)
    weights = beta[:-1] / spread
    return Prior(tuple(map(float, weights)), float(beta[-1] - weights @ mean))
