"""A model's rates on given terms, compiled to what a bill needs: an integer for every kind, and what is unsure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from llmsaver.pricing.sheet import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llmsaver.pricing.sheet import Factor, Prices, Sheet
    from llmsaver.pricing.terms import Terms

__all__ = ["Card", "Step", "compile_card", "reference_card"]

_FEES: Final = {"web_search": 10 * 10**12, "file_search": 25 * 10**11}
_WRITES: Final = ("cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h")
# Models whose documentation gives the price of a twelve-hour cache write: 2.5 times the input.
_TWELVE_HOURS: Final = re.compile(r"^gpt-6\.(?:1-terra|2-sol)")
# Dollars per million a model is booked at, flagged and never as a price, where nobody has said what it costs: a
# frontier model's list price, so that a forgotten declaration shows.
_REFERENCE: Final = {"input": 5 * 10**9, "output": 25 * 10**9}


@dataclass(frozen=True, slots=True)
class Step:
    """Rates for requests of more than ``above`` input tokens.

    ``rates`` has every kind; ``unsure`` those whose rate is derived, with its flag and the range it lies in.
    """

    above: int
    rates: Mapping[str, int]
    unsure: Mapping[str, tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Card:
    """Steps from the longest context down to 0, and what holds for each figure computed with them.

    ``low`` and ``high`` times a token rate here bound what it is (``exact``: both are 1); ``flags`` are raised by every
    bill.
    """

    model: str
    provider: str
    steps: tuple[Step, ...]
    flags: tuple[str, ...] = ()
    low: Fraction = Fraction(1)
    high: Fraction = Fraction(1)
    exact: bool = True
    context_window: int | None = None
    declared: bool = False

    def step(self, input_tokens: int) -> Step:
        """Return the rates of a request with so many input tokens."""
        for step in self.steps:
            if input_tokens > step.above:
                return step
        return self.steps[-1]


def compile_card(sheet: Sheet, terms: Terms, surcharge: Factor, flags: Iterable[str] = ()) -> Card:
    """Return the rates of a sheet on these terms, with every factor multiplied in."""
    factors = [factor for factor in (*terms.factors, surcharge) if factor.percent != 100 or factor.flag]  # noqa: PLR2004 - per cent
    percents = [factor.percent for factor in factors]
    base, above = _merged(sheet.prices, terms.variant.prices if terms.variant else None)
    steps = [
        _step(sheet, start, rates, percents, plain=terms.standard and start == 0)
        for start, rates in [(0, base), *above]
    ]
    low = high = Fraction(1)
    for factor in factors:
        low *= Fraction(factor.low, factor.percent)
        high *= Fraction(factor.high, factor.percent)
    own = ("declared",) if sheet.declared else ()
    return Card(
        model=sheet.model,
        provider=sheet.provider,
        steps=tuple(reversed(steps)),
        flags=tuple(dict.fromkeys([*own, *flags, *(factor.flag for factor in factors if factor.flag)])),
        low=low,
        high=high,
        exact=low == high,
        context_window=sheet.context_window,
        declared=sheet.declared,
    )


def reference_card(model: str, provider: str | None, flags: Iterable[str] = ()) -> Card:
    """Return the placeholder for a model nobody has priced: flagged, not $0, and a bound of nothing."""
    rates = dict.fromkeys(KINDS, _REFERENCE["input"])
    rates.update(dict.fromkeys(("output", "reasoning", "audio_out", "image_out"), _REFERENCE["output"]))
    rates.update(_FEES, requests=0)
    raised = tuple(dict.fromkeys([f"unpriced:{model or 'model'}", *flags]))
    return Card(model, provider or "", (Step(0, rates, {}),), raised, low=Fraction(0), exact=False)


def _merged(standard: Prices, variant: Prices | None) -> tuple[dict[str, int], list[tuple[int, dict[str, int]]]]:
    """Return base rates and complete rates per step; a kind that the variant prices has the variant's steps only."""
    base = {**standard.base, **(variant.base if variant else {})}
    replaced = variant.base if variant else {}
    above: dict[int, dict[str, int]] = {}
    for start, rates in standard.above:
        above.setdefault(start, {}).update({kind: rate for kind, rate in rates.items() if kind not in replaced})
    for start, rates in variant.above if variant else ():
        above.setdefault(start, {}).update(rates)
    complete: list[tuple[int, dict[str, int]]] = []
    running = base
    for start in sorted(above):
        running = {**running, **above[start]}
        complete.append((start, running))
    return base, complete


class _Filling:
    """Rates on their way to be complete; what follows from no documented rule is unsure."""

    __slots__ = ("rates", "unsure")

    def __init__(self, given: Mapping[str, int]) -> None:
        self.rates = {kind: given[kind] for kind in KINDS if kind in given}
        self.unsure: dict[str, tuple[str, int, int]] = {}

    def derive(self, kind: str, rate: int, low: int, high: int, word: str = "derived") -> None:
        """Fill in a kind that has no rate, with the range it may lie in."""
        if self.derive_surely(kind, rate):
            self.unsure[kind] = (f"{word}:{kind}", min(low, rate), max(high, rate))

    def derive_surely(self, kind: str, rate: int) -> bool:
        """Fill in a kind that has no rate, from a documented rule; return whether it had none."""
        missing = kind not in self.rates
        if missing:
            self.rates[kind] = rate
        return missing


def _step(sheet: Sheet, above: int, given: Mapping[str, int], percents: list[int], *, plain: bool) -> Step:
    filling = _Filling(given)
    _fill_input(sheet, filling, plain=plain)
    _fill_output(filling)
    rates, unsure = filling.rates, filling.unsure
    for kind in sheet.derived:
        fresh = rates["input"]
        unsure[kind] = (f"derived:{kind}", min(rates[kind], fresh // 40), max(rates[kind], fresh))
    for kind, fee in _FEES.items():
        filling.derive(kind, fee, 0, fee, "unpriced")
    filling.derive_surely("requests", 0)
    for kind in KINDS:
        if kind in _FEES or kind == "requests":
            continue
        rates[kind] = _times(rates[kind], percents)
        if kind in unsure:
            flag, low, high = unsure[kind]
            unsure[kind] = (flag, _times(low, percents), _times(high, percents))
    return Step(above, rates, unsure)


def _fill_input(sheet: Sheet, filling: _Filling, *, plain: bool) -> None:
    rates = filling.rates
    filling.derive("input", rates.get("output", _REFERENCE["input"]), 0, 0, "unpriced")
    fresh = rates["input"]
    # OpenAI's models without a cached rate have no discount, those without a write rate no fee; and what a user leaves
    # out costs what the input costs.
    claude = "claude" in sheet.model
    told = sheet.declared and not claude
    if told or sheet.provider in ("openai", "azure"):
        filling.derive_surely("cache_read", fresh)
        filling.derive_surely("cache_write_5m", fresh)
        filling.derive_surely("cache_write_30m", rates["cache_write_5m"])
    filling.derive("cache_read", fresh, fresh // 40, fresh)
    filling.derive("cache_write_5m", fresh * 5 // 4 if claude else fresh, fresh, fresh * 2)
    filling.derive("cache_write_30m", rates["cache_write_5m"], fresh, fresh * 2)
    if told:
        filling.derive_surely("cache_write_1h", fresh)
    filling.derive("cache_write_1h", fresh * 2, fresh, fresh * 2)
    if told or (plain and _TWELVE_HOURS.match(sheet.model)):
        filling.derive_surely("cache_write_12h", fresh if told else fresh * 5 // 2)
    filling.derive("cache_write_12h", fresh * 5 // 2, rates["cache_write_30m"], fresh * 5 // 2)
    filling.derive("audio_in", fresh, fresh, fresh * 100, "unpriced")
    filling.derive("audio_cached", rates["audio_in"], rates["cache_read"], rates["audio_in"])
    filling.derive_surely("image_in", fresh)
    filling.derive_surely("image_cached", rates["cache_read"])


def _fill_output(filling: _Filling) -> None:
    rates = filling.rates
    # An embedding has no output to price; another model's is unknown.
    filling.derive("output", rates["input"], 0, rates["input"] * 10, "unpriced")
    filling.derive_surely("reasoning", rates["output"])
    if "output" in filling.unsure:
        filling.unsure["reasoning"] = filling.unsure["output"]
    filling.derive("audio_out", rates["output"], rates["output"], rates["output"] * 100, "unpriced")
    filling.derive_surely("image_out", rates["output"])


def _times(rate: int, percents: list[int]) -> int:
    for percent in percents:
        rate = (rate * percent + 50) // 100
    return rate
