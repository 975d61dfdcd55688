"""What a cascade may lose before it has saved as much: a purse for each feature that every try is paid from."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Hold", "Stakes", "Sums"]

_FEATURES = 1_000
# How much of each guess goes into their mean.
_LEARNT = 0.05
_SUMS = ("calls", "spent", "always")


@dataclass(slots=True)
class Sums:
    """Faded sums in nano-dollars: what was ``spent``, and what the last tier ``always`` would have cost."""

    calls: float = 0.0
    spent: float = 0.0
    always: float = 0.0

    def add(self, calls: float, spent: float, always: float, fading: float) -> None:
        """Add what came to pass, older sums counting less."""
        faded = fading**calls
        self.calls = self.calls * faded + calls
        self.spent = self.spent * faded + spent
        self.always = self.always * faded + always


@dataclass(slots=True)
class _Purse(Sums):
    """Sums, and what is to come of them.

    ``held``: what tries under way may cost; ``guessed``: the mean of the prices that were expected beforehand;
    ``closed``: whether there was no room for the latest try; ``new``: what the ledger has not been told yet.
    """

    held: float = 0.0
    guessed: float | None = None
    closed: bool = False
    new: Sums | None = None

    def expected(self, price: float | None) -> float:
        """Return what the last tier will cost for a call whose price was guessed: guesses are put right by what came.

        How long answers are is not known beforehand; which calls are larger than others is.
        """
        if not self.calls:
            return price or 0.0
        usual = self.always / self.calls
        return usual * price / self.guessed if price and self.guessed else usual

    def guess(self, price: float | None) -> None:
        """Take a guess into their mean."""
        if price:
            self.guessed = price if self.guessed is None else self.guessed + _LEARNT * (price - self.guessed)


@dataclass(slots=True)
class Hold:
    """What a try under way may cost; given back once that is known, or where nothing comes of it."""

    purse: _Purse
    nano: float
    _give_back: Callable[[Hold], None]

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        self._give_back(self)


class Stakes:
    """Keeps each feature's bill within ``share`` of what the last tier alone would have cost, or ``start`` calls of it.

    The bill is all of it: cheap answers that were not accepted, second samples, audits, tries in the background. Before
    money is risked it is held; where what is lost so far and what is held leave no room for it, it is not risked. What
    a cascade saves makes room, so one that pays is never held up, and one that does not loses the greater of the two
    and no more (Wu et al. 2016, "Conservative Bandits", with a start instead of a prior). ``start``: how a new feature
    can begin at all; from start / share calls on it is the lesser. What is ``half_life`` calls ago counts half, so that
    what a long quiet time would allow is not lost at once. Safe from any thread; holds the 1,000 latest features.
    """

    def __init__(self, share: float = 0.004, *, start: float = 1.5, half_life: float = 10_000.0) -> None:
        self._share, self._start = share, start
        self._fading = 0.5 ** (1.0 / half_life)
        self._lock = threading.Lock()
        self._purses: dict[str, _Purse] = {}

    def hold(self, feature: str, ratio: float | None, price: float | None = None, *, dry: bool = False) -> Hold | None:
        """Hold what a try may cost; None where it is not to be made. ``dry``: and hold nothing.

        ``ratio``: its cost as a multiple of the last tier's for the same request; ``price``: the last tier's, as
        far as it can be guessed, None for an audit. A try whose cost nobody knows is always let through, as is one for
        nothing.
        """
        with self._lock:
            purse = self._purse(feature)
            expected = purse.expected(price)
            nano = (ratio or 0.0) * expected
            if not dry:
                purse.guess(price)
            if nano > 0:
                usual = purse.always / purse.calls if purse.calls else expected
                most = max(self._start * usual, self._share * purse.always)
                closed = purse.spent - purse.always + purse.held + nano > most
                if price is not None and not dry:
                    purse.closed = closed
                if closed:
                    return None
            elif not dry:
                purse.closed = False
            if dry:
                nano = 0.0
            purse.held += nano
            return Hold(purse, nano, self._released)

    def note(self, feature: str, spent: float, always: float = 0.0, *, calls: float = 0.0) -> None:
        """Add what was spent, and what the last tier alone would have cost; amounts below 0 or NaN change nothing."""
        if not all(math.isfinite(each) and each >= 0 for each in (spent, always)):
            return
        with self._lock:
            purse = self._purse(feature)
            purse.add(calls, spent, always, self._fading)
            if purse.new is None:
                purse.new = Sums()
            purse.new.add(calls, spent, always, self._fading)

    def lost(self, feature: str) -> float | None:
        """Return by which share the bill is above the last tier's alone, negative where below; None while unknown."""
        with self._lock:
            purse = self._purses.get(feature)
            return purse.spent / purse.always - 1 if purse is not None and purse.always else None

    def why(self, feature: str) -> str | None:
        """Return why there was no room for the latest try, in words; None where there was."""
        lost = self.lost(feature)
        with self._lock:
            purse = self._purses.get(feature)
            closed = purse is not None and purse.closed
        so_far = "" if lost is None else f"so far all cost {lost:+.1%} against the last tier alone; "
        return f"{so_far}cheaper tiers are tried as far as {self._share:.1%} may be lost" if closed else None

    def merged(self, feature: str, told: object) -> dict[str, float]:
        """Return what the ledger says of a feature with what is new here added, and go on from that."""
        row = self.added(told, self.news(feature))
        self.told(feature, row)
        return row

    def news(self, feature: str) -> Sums:
        """Take out what the ledger is about to be told of a feature; ``told`` or ``untold`` says how that went."""
        with self._lock:
            purse = self._purse(feature)
            new, purse.new = purse.new or Sums(), None
            return new

    def added(self, told: object, new: Sums) -> dict[str, float]:
        """Return what the ledger says of a feature with what is new added; changes nothing here."""
        given = as_dict(told)
        sums = Sums(*(_amount(given, name) for name in _SUMS))
        sums.add(new.calls, new.spent, new.always, self._fading)
        return {name: getattr(sums, name) for name in _SUMS}

    def told(self, feature: str, row: Mapping[str, float]) -> None:
        """Go on from what the ledger says by now, and what came in meanwhile."""
        with self._lock:
            purse = self._purse(feature)
            purse.calls, purse.spent, purse.always = (row[name] for name in _SUMS)
            later = purse.new or Sums()
            purse.add(later.calls, later.spent, later.always, self._fading)

    def untold(self, feature: str, new: Sums) -> None:
        """Put back what the ledger could not be told."""
        with self._lock:
            purse = self._purse(feature)
            later = purse.new or Sums()
            purse.new = new
            new.add(later.calls, later.spent, later.always, self._fading)

    def fresh(self) -> list[str]:
        """Return the features of which the ledger has not been told everything."""
        with self._lock:
            return [feature for feature, purse in self._purses.items() if purse.new is not None]

    def after_fork(self) -> None:
        """Leave to the parent what it has under way and has yet to tell the ledger; a hold of its is nothing here."""
        self._lock = threading.Lock()
        self._purses = {feature: replace(purse, held=0.0, new=None) for feature, purse in self._purses.items()}

    def _released(self, hold: Hold) -> None:
        with self._lock:
            hold.purse.held = max(0.0, hold.purse.held - hold.nano)
            hold.nano = 0.0

    def _purse(self, feature: str) -> _Purse:
        purse = self._purses.pop(feature, None) or _Purse()
        self._purses[feature] = purse
        if len(self._purses) > _FEATURES:
            del self._purses[next(iter(self._purses))]
        return purse


def _amount(given: Mapping[str, Any], name: str) -> float:
    value: Any = given.get(name)
    return float(value) if type(value) in (int, float) and 0 <= value < math.inf else 0.0
