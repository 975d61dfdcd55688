"""What a router would do with a request, and where it stands with a feature: as values, and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Explanation", "FeatureStatus"]


@dataclass(frozen=True, slots=True)
class FeatureStatus:
    """How far a tier may be trusted with a feature.

    ``threshold`` of ``signal`` (None: each signal has its own) and the ``evidence`` for it; ``labels`` there are,
    ``gold`` of them checked against the truth, and ``need`` where they are too few; ``quality_low``: the lower bound of
    the quality kept, as a share of the last tier's; ``escalation`` and ``saving``: shares expected by the labels.
    ``drift``: what has shifted; ``aside``: why the cheaper tiers are left out.
    """

    feature: str
    tier: str
    evidence: str
    signal: str | None = None
    threshold: float | None = None
    labels: int = 0
    gold: int = 0
    need: int | None = None
    quality_low: float | None = None
    escalation: float | None = None
    saving: float | None = None
    drift: str | None = None
    aside: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return _json({each.name: getattr(self, each.name) for each in fields(self)})


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be done with a request, without anything being sent.

    ``start``: the tier that would be asked first, ``last``: the one that an answer has to compare with; ``tiers``: for
    each whether it can answer, and if not why. ``signals``: what is known before the call. Money is in dollars as
    decimal strings, None where a tier has no price; ``expected_cost_usd`` has both legs in it. ``changes``: what would
    change the decision, in sentences.
    """

    start: str
    last: str
    why: str
    evidence: str = ""
    threshold: float | None = None
    signal: str | None = None
    signals: Mapping[str, Any] = field(default_factory=dict)
    expected_cost_usd: str | None = None
    last_tier_cost_usd: str | None = None
    expected_escalation: float | None = None
    expected_quality_low: float | None = None
    changes: tuple[str, ...] = ()
    tiers: tuple[Mapping[str, Any], ...] = ()

    @property
    def tier(self) -> str:
        """The tier that is asked first."""
        return self.start

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        return _json({"tier": self.start, **told, "signals": dict(self.signals), "changes": list(self.changes)}) | {
            "tiers": [dict(tier) for tier in self.tiers]
        }

    def __str__(self) -> str:
        able = not self.tiers or any(tier["able"] for tier in self.tiers)
        lines = [f"{self.start} is asked first: {self.why}" if able else f"no tier is asked: {self.why}"]
        if self.threshold is not None and math.isfinite(self.threshold):
            what = self.signal or "confidence"
            lines.append(
                f"  its answer is served where its merit by {what} reaches {self.threshold:.3f} ({self.evidence})"
            )
        elif self.evidence:
            lines.append(f"  evidence: {self.evidence}")
        if self.expected_quality_low is not None:
            lines.append(f"  quality: at least {self.expected_quality_low:.1%} of {self.last}'s")
        if self.expected_cost_usd is not None:
            against = "" if self.last_tier_cost_usd is None else f", ${self.last_tier_cost_usd} at {self.last}"
            rate = self.expected_escalation
            goes_up = "" if rate is None else f" ({rate:.0%} go up)"
            lines.append(f"  cost: about ${self.expected_cost_usd}{goes_up}{against}")
        lines += [f"  {name}: {value}" for name, value in self.signals.items()]
        lines += [f"  {tier['tier']} cannot answer: {tier['why']}" for tier in self.tiers if not tier["able"]]
        return "\n".join([*lines, *(f"  would change it: {change}" for change in self.changes)])


def _json(told: dict[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them: no infinity."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in told.items()
    }
