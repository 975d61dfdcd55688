"""The cheapest model that is good enough: tiers, needs, confidence, thresholds with a stated risk; no network here."""

from __future__ import annotations

from llmsaver.router.tier import Tier

__all__ = ["Tier"]
