"""Counts times rates, added up without losing a fraction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from llmsaver.pricing.money import MILLION
from llmsaver.pricing.values import UNPRICED, Cost, Line

if TYPE_CHECKING:
    from llmsaver.pricing.card import Card, Step
    from llmsaver.pricing.reading import Reading

__all__ = ["Total"]

_HALF: Final = MILLION // 2
_FEES: Final = frozenset(("web_search", "file_search", "requests"))
_line: Final = Line._make  # half the time of calling the class


class Total:
    """A running sum over the model calls of one answer, in units times nano-dollars per million.

    It is rounded once; the lines take the rounding, so that they add up to it.
    """

    __slots__ = ("booked", "flags", "high", "lines", "low", "sum")

    def __init__(self) -> None:
        self.sum = self.low = self.high = self.booked = 0
        self.flags: list[str] = []
        self.lines: list[Line] = []

    def add(self, card: Card, reading: Reading, model: str) -> None:
        """Add one model call; ``model`` is shown on its lines where it is not the answer's."""
        steps = card.steps
        step = steps[0] if len(steps) == 1 else card.step(reading.input_tokens)
        rates, unsure, lines = step.rates, step.unsure, self.lines
        before = running = self.sum
        booked = self.booked
        sure = reading.low is None and card.exact
        for kind, units in reading.units:
            rate = rates[kind]
            running += units * rate
            upto = (running + _HALF) // MILLION
            lines.append(_line((kind, units, rate, upto - booked, model)))
            booked = upto
            if kind in unsure:
                sure = False
        if rates["requests"]:
            running += rates["requests"]
            upto = (running + _HALF) // MILLION
            lines.append(Line("requests", 1, rates["requests"], upto - booked, model))
            booked = upto
        self.sum, self.booked = running, booked
        if card.flags:
            self.flags += card.flags
        if reading.flags:
            self.flags += reading.flags
        if sure:
            self.low += running - before
            self.high += running - before
        else:
            self._widen(card, step, reading)

    def _widen(self, card: Card, step: Step, reading: Reading) -> None:
        """Add the least and the most that open questions leave possible."""
        self.low += step.rates["requests"]
        self.high += step.rates["requests"]
        for kind, units in reading.units if reading.low is None else reading.low:
            rate = step.unsure[kind][1] if kind in step.unsure else step.rates[kind]
            self.low += units * rate if kind in _FEES else math.floor(units * rate * card.low)
        for kind, units in reading.units if reading.high is None else reading.high:
            rate = step.unsure[kind][2] if kind in step.unsure else step.rates[kind]
            self.high += units * rate if kind in _FEES else math.ceil(units * rate * card.high)
        self.flags += [step.unsure[kind][0] for kind, _ in reading.units if kind in step.unsure]

    def cost(self) -> Cost:
        """Return the sum."""
        booked = self.booked
        if not self.flags:
            return Cost(booked, booked, booked, False, (), tuple(self.lines))
        flags = tuple(dict.fromkeys(self.flags))
        low, high = (self.low + _HALF) // MILLION, (self.high + _HALF) // MILLION
        if not booked and any(flag.startswith(UNPRICED) for flag in flags):
            # Too little to show is still not free.
            booked = 1
        return Cost(booked, min(low, booked), max(high, booked), flags != ("declared",), flags, tuple(self.lines))
