"""What each threshold would have cost and saved on recorded outcomes, and what a promised quality comes to on them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.pricing import plain
from llmsaver.reporting.router_status import Promise, promise
from llmsaver.router.calibration import NotEnough, Threshold, contract, curve
from llmsaver.router.prior import prior_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.reporting.router_outcomes import Outcomes
    from llmsaver.router.calibration import Label, Point

__all__ = ["Held", "Simulation", "Step", "simulate"]

_STEPS = 10
_FEWEST = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One threshold: the share escalated, the quality kept as a share of the last tier's, and the bill for all rows.

    ``name`` says what it is: "contract", "prior", or "" for one of the curve.
    """

    threshold: float
    escalation: float
    quality: float
    saving: float
    cost_nano: int
    saved_nano: int
    name: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine; the threshold that escalates everything as None."""
        return {
            "name": self.name or None,
            "threshold": self.threshold if math.isfinite(self.threshold) else None,
            "escalation": self.escalation,
            "quality": self.quality,
            "saving": self.saving,
            "cost_usd": plain(self.cost_nano),
            "saved_usd": plain(self.saved_nano),
        }


@dataclass(frozen=True, slots=True)
class Held:
    """The contract made on one half of the rows and scored on the other, over random halves: ``missed`` of ``splits``.

    ``saving`` and ``quality`` are means over the splits; where evidence was short (``short`` of them) the last tier
    serves everything, which saves nothing and misses nothing.
    """

    splits: int
    missed: int
    short: int
    saving: float
    quality: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine."""
        told: dict[str, Any] = {"splits": self.splits, "missed": self.missed, "not_enough": self.short}
        return told | {"mean_saving": self.saving, "mean_quality": self.quality}


@dataclass(frozen=True, slots=True)
class Simulation:
    """The outcomes of one feature and tier; ``strong_nano`` is the bill had the last tier answered everything.

    ``weak`` and ``strong`` are the two tiers' mean qualities; ``held`` is None where there are too few rows to halve.
    """

    feature: str
    tier: str
    last: str
    rows: int
    weak: float
    strong: float
    strong_nano: int
    steps: tuple[Step, ...]
    promise: Promise
    held: Held | None

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine."""
        return {
            "feature": self.feature or None,
            "tier": self.tier or None,
            "last_tier": self.last or None,
            "rows": self.rows,
            "cheap_quality": self.weak,
            "last_tier_quality": self.strong,
            "last_tier_alone_usd": plain(self.strong_nano),
            "steps": [step.as_dict() for step in self.steps],
            "contract": self.promise.as_dict(),
            "held_out": None if self.held is None else self.held.as_dict(),
        }


def simulate(
    outcomes: Outcomes, *, min_quality: float, risk: float, splits: int = 20, seed: int = 0, steps: int = _STEPS
) -> Simulation:
    """Return what thresholds would have done; raises ``ValueError`` where the quality or the risk is no share."""
    labels = outcomes.labels
    made = promise(outcomes.tier, labels, min_quality, risk)
    points, strong_nano = curve(labels), sum(label.strong_nano for label in labels)
    whole = points[0].quality or 1.0  # escalating everything is as good as the last tier
    named = [("prior", prior_threshold(labels[0].signal))]
    if isinstance(made.found, Threshold):
        named.append(("contract", made.found.value))
    marked = [_step(_at(points, value), whole, strong_nano, name) for name, value in named if math.isfinite(value)]
    told = [_step(point, whole, strong_nano) for point in _spread(points, steps)]
    known = {step.threshold for step in marked}
    told = [step for step in told if step.threshold not in known]
    return Simulation(
        outcomes.feature,
        outcomes.tier,
        outcomes.last,
        len(labels),
        _mean([label.weak for label in labels]),
        _mean([label.strong for label in labels]),
        strong_nano,
        tuple(sorted([*told, *marked], key=lambda step: (-step.threshold, step.name))),
        made,
        _held(labels, min_quality, risk, splits, seed) if len(labels) >= _FEWEST and splits else None,
    )


def _spread(points: Sequence[Point], steps: int) -> list[Point]:
    """Return points of the curve at about even shares of escalation, both ends among them."""
    wanted = [1 - n / steps for n in range(steps + 1)]
    found = [min(points, key=lambda point: abs(point.escalation - share)) for share in wanted]
    return list(dict.fromkeys(found))


def _at(points: Sequence[Point], threshold: float) -> Point:
    """Return the point of the curve that ``threshold`` gives: that of the lowest threshold not below it."""
    able = [point for point in points if point.threshold >= threshold]
    return min(able, key=lambda point: point.threshold) if able else points[0]


def _step(point: Point, whole: float, strong_nano: int, name: str = "") -> Step:
    saved = round(point.saving * strong_nano)
    quality, cost = point.quality / whole, strong_nano - saved
    return Step(point.threshold, point.escalation, quality, point.saving, cost, saved, name)


def _held(labels: Sequence[Label], min_quality: float, risk: float, splits: int, seed: int) -> Held:
    dice = random.Random(seed)  # noqa: S311 - which rows are in which half is no secret
    missed = short = 0
    savings, qualities = [], []
    for _ in range(splits):
        mixed = dice.sample(labels, len(labels))
        half = len(mixed) // 2
        found = contract(mixed[:half], min_quality=min_quality, risk=risk)
        if isinstance(found, NotEnough):
            short += 1
            quality, saved = 1.0, 0.0
        else:
            quality, saved = _scored(mixed[half:], found)
        missed += quality < min_quality
        savings.append(saved)
        qualities.append(quality)
    return Held(splits, missed, short, _mean(savings), _mean(qualities))


def _scored(labels: Sequence[Label], found: Threshold) -> tuple[float, float]:
    """Return the quality kept, as a share of the last tier's, and the share of its bill that was saved."""
    if math.isinf(found.value):  # the cheap tier is not even asked
        return 1.0, 0.0
    kept = [found.accepts(label.confidence) and label.signal == found.signal for label in labels]
    strong = math.fsum(label.strong for label in labels)
    got = math.fsum(label.weak if take else label.strong for label, take in zip(labels, kept, strict=True))
    dear = sum(label.strong_nano for label in labels)
    bill = sum(label.weak_nano + (0 if take else label.strong_nano) for label, take in zip(labels, kept, strict=True))
    return got / strong if strong else 1.0, 1 - bill / dear if dear else _mean([float(take) for take in kept])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
