"""What a switch of models costs and saves while prompts are cached; integer nano-dollars throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmsaver.pricing.values import Rates

__all__ = ["call_nano", "pays", "switch_cost", "switch_pays"]

_MILLION = 1_000_000
# The cache that a provider fills without being asked; where there is none, a prompt is fresh input.
_WRITES = ("cache_write_30m", "cache_write_5m", "input")


def call_nano(rates: Rates, *, prompt_tokens: int, cached_tokens: int = 0, output_tokens: int = 0) -> int:
    """Return what a call costs, ``cached_tokens`` of its prompt being read from the provider's cache.

    Long-context rates count for a prompt beyond their threshold. A kind without a rate of its own costs what the plain
    one does. ``rates`` hold nano-dollars per million tokens.
    """
    cached = min(cached_tokens, prompt_tokens)
    fresh = (prompt_tokens - cached) * _rate(rates, prompt_tokens, "input")
    read = cached * _rate(rates, prompt_tokens, "cache_read", "input")
    return (fresh + read + output_tokens * _rate(rates, prompt_tokens, "output")) // _MILLION


def switch_cost(stay: Rates, go: Rates, *, prefix_tokens: int) -> int:
    """Return how much more the prompt so far costs at ``go`` than at ``stay``, which has it in its cache.

    At ``go`` it is written to the cache, where that has a price of its own. Negative where even so it costs less.
    """
    there = prefix_tokens * _rate(go, prefix_tokens, *_WRITES)
    here = prefix_tokens * _rate(stay, prefix_tokens, "cache_read", "input")
    return (there - here) // _MILLION


def switch_pays(
    stay: Rates, go: Rates, *, prefix_tokens: int, fresh_tokens: int, output_tokens: int, turns: float = 2.0
) -> bool:
    """Tell whether going to another model costs less than staying, over this turn and those expected to follow.

    Each turn adds ``fresh_tokens`` to a prompt of ``prefix_tokens`` and is answered with ``output_tokens``, which are
    part of the next prompt. The first turn at ``go`` pays for the prefix anew, later ones read it from its cache; at
    ``stay`` all turns do. ``turns`` counts this one; two, where nobody knows: conversations end.
    """
    here = there = 0.0
    prefix, left = prefix_tokens, max(1.0, turns)
    first = True
    while left > 0:
        share = min(1.0, left)
        whole = prefix + fresh_tokens
        here += share * call_nano(stay, prompt_tokens=whole, cached_tokens=prefix, output_tokens=output_tokens)
        there += share * call_nano(go, prompt_tokens=whole, cached_tokens=prefix, output_tokens=output_tokens)
        if first:
            there += switch_cost(go, go, prefix_tokens=prefix)
            first = False
        prefix = whole + output_tokens
        left -= 1
    return there < here


def pays(weak_nano: float, strong_nano: float, escalation: float, extra_nano: float = 0.0) -> bool:
    """Tell whether a cascade costs less than always asking the strong model.

    It does where weak + extra + escalation x strong < strong; ``extra_nano`` is what a call pays for being judged (a
    second sample, a self-check), ``escalation`` the share of calls that the strong model answers after all.
    """
    return weak_nano + extra_nano + escalation * strong_nano < strong_nano


def _rate(rates: Rates, prompt_tokens: int, *kinds: str) -> int:
    """Return the first of the rates that is known, for a prompt of that length; 0 where none is."""
    table = dict(rates.kinds)
    for threshold, higher in sorted(rates.above, key=_threshold):
        if prompt_tokens > threshold:
            table |= higher
    return next((table[kind] for kind in kinds if kind in table), 0)


def _threshold(step: tuple[int, object]) -> int:
    return step[0]
