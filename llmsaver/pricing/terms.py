"""The terms an answer was served on: tier, speed, batch, geography; and what each does to a rate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llmsaver.pricing.sheet import Factor

if TYPE_CHECKING:
    from datetime import date

    from llmsaver.pricing.sheet import Sheet, Variant

__all__ = ["STANDARD", "Terms", "terms_for"]

_STANDARD_TIERS: Final = frozenset({"", "default", "standard", "auto", "on_demand", "standard_only"})
# Ultrafast costs six times Standard. Source: OpenAI's Ultrafast guide, which prices these models.
_ULTRAFAST: Final = re.compile(r"^gpt-6(?:-astra|\.1-sol)")
# What a tier costs where the table has no price of it, in percent of Standard: figure, low, high.
_TIER_GUESS: Final = {
    "flex": (100, 50, 100),
    "priority": (200, 100, 250),
    "fast": (200, 100, 250),
    "ultrafast": (600, 600, 600),
    # Capacity paid for in advance: list price at most, nothing on top at least.
    "scale": (100, 0, 100),
}
# OpenAI, Azure, Anthropic and Google sell batches at half price; elsewhere the discount is not known.
_HALF: Final = frozenset({"openai", "azure", "anthropic", "google", "aws", "mistral", "groq"})


@dataclass(frozen=True, slots=True)
class Terms:
    """The variant of a sheet that applies (None: standard), and the factors on top of it."""

    variant: Variant | None = None
    factors: tuple[Factor, ...] = ()
    standard: bool = True


STANDARD: Final = Terms()


def terms_for(sheet: Sheet, *, tier: str, speed: str, geo: str, batch: bool, day: date) -> Terms:
    """Return the terms for what an answer says of itself; words as they came, "" where it says nothing."""
    tier, speed, geo = tier.lower(), speed.lower(), geo.lower()
    factors: list[Factor] = []
    variant: Variant | None = None
    standard = True
    if batch or tier == "batch":
        standard = False
        variant = sheet.variants.get(("processing", "batch"))
        if variant is None:
            known = sheet.provider in _HALF
            factors.append(Factor(50 if known else 100, 50, 100, "batch"))
    elif tier not in _STANDARD_TIERS:
        standard = False
        variant, factor = _tier(sheet, tier)
        factors += [factor] if factor else []
    if speed and speed != "standard":
        standard = False
        fast = sheet.variants.get(("speed", speed))
        if fast is None or variant is not None:
            factors.append(Factor(200, 100, 600, f"speed:{speed}"))
        variant = variant or fast
    if variant is not None and variant.since is not None and day < variant.since:
        factors.append(Factor(flag=f"rate-since:{variant.since}"))
    if (geographic := _geo(sheet, geo)) is not None:
        factors.append(geographic)
    return Terms(variant, tuple(factors), standard) if factors or variant or not standard else STANDARD


def _tier(sheet: Sheet, tier: str) -> tuple[Variant | None, Factor | None]:
    variant = sheet.variants.get(("service_tier", tier))
    if variant is not None:
        return variant, None
    if tier == "ultrafast":
        return None, Factor(600, 600, 600, "" if _ULTRAFAST.match(sheet.model) else "tier:ultrafast")
    if sheet.provider == "anthropic" and tier == "priority":
        # A commitment to capacity, at a price that is agreed on.
        return None, Factor(100, 0, 100, "tier:priority")
    percent, low, high = _TIER_GUESS.get(tier, (100, 0, 600))
    return None, Factor(percent, low, high, f"tier:{tier}")


def _geo(sheet: Sheet, geo: str) -> Factor | None:
    """Inference in the US costs 1.1 times as much, all token kinds alike; the API of Anthropic alone sells it so."""
    if geo in ("", "global", "not_available") or sheet.provider != "anthropic":
        return None
    return Factor(110, 110, 110) if geo == "us" else Factor(110, 100, 110, f"geo:{geo}")
