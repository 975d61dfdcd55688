"""Rates that a user declares: negotiated, local, or of a model the table does not know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final

from llmsaver.errors import ConfigurationError
from llmsaver.pricing.money import rate
from llmsaver.pricing.sheet import KINDS, Prices, Sheet, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Override", "apply", "find", "parse"]

# Searches and requests are declared per thousand, as vendors quote them.
_PER_THOUSAND: Final = frozenset(("web_search", "file_search", "requests"))
_BOTH_WRITES: Final = ("cache_write_5m", "cache_write_30m")
_TERMS: Final = {"batch": "processing", "fast": "speed"}
_WINDOW_LIMIT: Final = 10**9


@dataclass(frozen=True, slots=True)
class Override:
    """Declared prices for the models that a pattern matches, of one provider or of any."""

    name: str
    pattern: re.Pattern[str]
    weight: tuple[bool, int]
    provider: str
    prices: Prices
    variants: Mapping[tuple[str, str], Variant]
    context_window: int | None


def parse(written: Mapping[str, Mapping[str, Any]] | None) -> tuple[Override, ...]:
    """Read ``prices=``: dollars per million tokens by kind, under a model's name or a glob pattern.

    ``{"my-model": {"input": "0.15", "output": "0.60", "cache_read": "0.01", "cache_write": "0.19"}}``. Further keys:
    every kind of ``KINDS`` (``web_search``, ``file_search`` and ``requests`` per thousand), ``above`` (a mapping from
    input tokens to the rates beyond them), ``tiers`` (a mapping from "flex", "priority", "batch", ... to rates),
    ``provider`` and ``context_window``. Everything else is a ConfigurationError that names the key.
    """
    if written is None:
        return ()
    if not hasattr(written, "items"):
        raise ConfigurationError(
            "prices: write a mapping from model names to rates, such as {'gpt-5': {'input': '1.25'}}"
        )
    found = [_override(name, rates) for name, rates in written.items()]
    return tuple(sorted(found, key=lambda override: override.weight, reverse=True))


def find(overrides: tuple[Override, ...], provider: str | None, names: tuple[str, ...]) -> Override | None:
    """Return the most specific override for any of a call's names; an exact name beats a pattern."""
    for override in overrides:
        if override.provider and override.provider != provider:
            continue
        if any(override.pattern.match(name) for name in names):
            return override
    return None


def apply(override: Override, sheet: Sheet | None, provider: str | None, model: str) -> Sheet:
    """Return the sheet a declaration makes, with what it leaves out taken from the table in proportion.

    Proportion: a user who negotiated the input down pays less for a cached read too. Those kinds are ``derived``.
    """
    base = dict(override.prices.base)
    derived: set[str] = set()
    known = sheet.prices.base if sheet else {}
    declared_input = base.get("input")
    for kind in KINDS if sheet and known.get("input") else ():
        if kind in base or kind not in known:
            continue
        if kind in ("input", "output") or kind in _PER_THOUSAND or declared_input is None:
            base[kind] = known[kind]
        elif kind in ("reasoning", "audio_out", "image_out"):
            continue
        else:
            base[kind] = declared_input * known[kind] // known["input"]
            if declared_input:
                derived.add(kind)
    return Sheet(
        provider=provider or "",
        model=model,
        prices=Prices(base, override.prices.above),
        variants=override.variants,
        context_window=override.context_window or (sheet.context_window if sheet else None),
        source="declared",
        declared=True,
        derived=frozenset(derived),
    )


def _override(name: object, rates: object) -> Override:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"prices: {name!r} is not a model's name or pattern")
    key = f"prices[{name!r}]"
    if not hasattr(rates, "items"):
        raise ConfigurationError(f"{key}: write a mapping of rates, such as {{'input': '0.15', 'output': '0.60'}}")
    entries = dict(rates.items())
    above = _above(entries.pop("above", {}), key)
    variants = _variants(entries.pop("tiers", {}), key)
    provider = entries.pop("provider", "")
    window = entries.pop("context_window", None)
    if not isinstance(provider, str):
        raise ConfigurationError(f"{key}['provider']: {provider!r} is not a provider's id, such as 'openai'")
    if window is not None and (type(window) is not int or not 0 < window <= _WINDOW_LIMIT):
        raise ConfigurationError(f"{key}['context_window']: {window!r} is not a number of tokens")
    base = _rates(entries, key)
    if not base:
        raise ConfigurationError(f"{key}: no rate is given; write at least 'input' and 'output'")
    exact = not any(mark in name for mark in "*?[")
    return Override(
        name=name,
        pattern=re.compile(re.escape(name.lower()) + r"\Z" if exact else translate(name.lower())),
        weight=(exact, len(name)),
        provider=provider.lower(),
        prices=Prices(base, above),
        variants=variants,
        context_window=window,
    )


def _rates(entries: Mapping[str, Any], key: str) -> dict[str, int]:
    rates: dict[str, int] = {}
    for kind, value in entries.items():
        if kind not in KINDS and kind != "cache_write":
            raise ConfigurationError(f"{key}[{kind!r}]: no such rate; there are {', '.join(('cache_write', *KINDS))}")
        scaled = rate(value, f"{key}[{kind!r}]") * (1000 if kind in _PER_THOUSAND else 1)
        if kind == "cache_write":
            for each in _BOTH_WRITES:
                rates.setdefault(each, scaled)
        else:
            rates[kind] = scaled
    return rates


def _above(written: object, key: str) -> tuple[tuple[int, Mapping[str, int]], ...]:
    if not isinstance(written, dict):
        raise ConfigurationError(f"{key}['above']: write a mapping from input tokens to rates")
    steps: list[tuple[int, Mapping[str, int]]] = []
    for start, rates in written.items():
        text = str(start)
        if not text.isdecimal() or not isinstance(rates, dict):
            raise ConfigurationError(
                f"{key}['above'][{start!r}]: write input tokens and their rates, {{200000: {{...}}}}"
            )
        steps.append((int(text), _rates(rates, f"{key}['above'][{start!r}]")))
    return tuple(sorted(steps, key=lambda step: step[0]))


def _variants(written: object, key: str) -> dict[tuple[str, str], Variant]:
    if not isinstance(written, dict):
        raise ConfigurationError(f"{key}['tiers']: write a mapping from a tier's name to rates")
    variants: dict[tuple[str, str], Variant] = {}
    for tier, rates in written.items():
        if not isinstance(tier, str) or not isinstance(rates, dict):
            raise ConfigurationError(f"{key}['tiers'][{tier!r}]: write rates, such as {{'input': '0.07'}}")
        variant = Variant(Prices(_rates(rates, f"{key}['tiers'][{tier!r}]")))
        for term in {_TERMS.get(tier, "service_tier"), "service_tier"}:
            variants[(term, tier.lower())] = variant
    return variants
