"""How one call was routed: what its row in the ledger, and its answer's ``llmsaver`` key, say of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Routing"]


@dataclass(slots=True)
class Routing:
    """One call's way through a cascade, filled in as it goes; models stand for their tiers.

    ``asked``: the model the caller named; ``tiers``: all there are, from the cheapest; ``start``: the first that was
    asked, ``tier``: the one whose answer was served; ``escalated``: whether an answer was judged and not accepted;
    ``why``: in a sentence. ``signals``: what was measured, ``signal`` the one that decided and ``threshold`` what it
    was held against; ``evidence``: where that threshold is from ("contract", "prior", "fixed", or that there is too
    little); ``quality_low``: the lower bound of the quality it keeps, as a share of the last tier's. ``tried``: who did
    not answer, and why. ``counterfactual_usd``: what the call would have cost without routing. ``drift``: whether the
    feature's traffic is not what the thresholds were made on, ``aside`` whether the cheaper tiers were left out because
    they cost more than they save there. ``min_quality`` and ``risk``: what was promised.
    """

    asked: str | None
    tiers: tuple[str, ...]
    feature: str = "default"
    start: str = ""
    tier: str = ""
    escalated: bool = False
    why: str = ""
    signals: dict[str, float] = field(default_factory=dict)
    signal: str | None = None
    threshold: float | None = None
    evidence: str = ""
    quality_low: float | None = None
    tried: list[dict[str, str]] = field(default_factory=list)
    counterfactual_usd: str | None = None
    drift: bool = False
    aside: bool = False
    min_quality: float | None = None
    risk: float | None = None

    def note(self, **signals: float | None) -> None:
        """Keep what was measured; what could not be measured is left out."""
        # Six digits, however small: rounding by places would make the smallest merits one.
        self.signals |= {name: float(f"{float(value):.6g}") for name, value in signals.items() if value is not None}

    def passed(self, model: str, why: str) -> None:
        """Note a tier that did not answer."""
        told = {"tier": model, "why": why}
        if told not in self.tried:
            self.tried.append(told)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON: a number that JSON does not have (a threshold that nothing reaches) as None."""
        return {
            "asked": self.asked,
            "tiers": list(self.tiers),
            "feature": self.feature,
            "start": self.start,
            "tier": self.tier,
            "escalated": self.escalated,
            "why": self.why,
            "signals": {name: value for name, value in self.signals.items() if _finite(value)},
            "signal": self.signal,
            "threshold": self.threshold if _finite(self.threshold) else None,
            "evidence": self.evidence,
            "quality_low": self.quality_low if _finite(self.quality_low) else None,
            "tried": list(self.tried),
            "counterfactual_usd": self.counterfactual_usd,
            "drift": self.drift,
            "aside": self.aside,
            "min_quality": self.min_quality,
            "risk": self.risk,
        }


def _finite(value: float | None) -> bool:
    return value is not None and value == value and abs(value) != float("inf")  # noqa: PLR0124 - NaN differs from itself
